// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernelgrad/export.h"

/// Vectorised access to arrays: 16 bytes at a time, which is the widest load and store that there is, with
/// the ends of arrays and unaligned addresses taken care of here and nowhere else.
namespace KG_API kg {
namespace cuda {

/// How many T make 16 bytes.
template <class T>
inline constexpr int pack_size = 16 / static_cast<int>(sizeof(T));

/// So many T that one instruction loads or stores them, if they make 4, 8 or 16 bytes.
template <class T, int count = pack_size<T>>
struct alignas(count * sizeof(T) < 16 ? count * sizeof(T) : 16) Pack {
  T values[count];
};

template <class T>
__device__ bool is_pack_aligned(const T* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

/// Elements first, first + 1, ... of an array of `count`; 0 for those beyond its end.
template <class T>
__device__ Pack<T> load_pack(const T* array, std::int64_t first, std::int64_t count) {
  if (first + pack_size<T> <= count && is_pack_aligned(array + first))
    return *reinterpret_cast<const Pack<T>*>(array + first);
  Pack<T> pack{};
  for (int i = 0; i < pack_size<T>; ++i)
    if (first + i < count) pack.values[i] = array[first + i];
  return pack;
}

/// Writes elements first, first + 1, ... of an array of `count`, those that exist.
template <class T>
__device__ void store_pack(T* array, std::int64_t first, std::int64_t count, const Pack<T>& pack) {
  if (first + pack_size<T> <= count && is_pack_aligned(array + first)) {
    *reinterpret_cast<Pack<T>*>(array + first) = pack;
    return;
  }
  for (int i = 0; i < pack_size<T>; ++i)
    if (first + i < count) array[first + i] = pack.values[i];
}

}  // namespace cuda
}  // namespace kg
