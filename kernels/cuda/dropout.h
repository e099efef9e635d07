// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernelgrad/cuda/philox.h"
#include "kernelgrad/cuda/vec.h"
#include "kernels/dropout.h"

/// The mask of dropout, drawn inside whatever kernel applies it: dropout's own, and batch_norm's forward and
/// backward. No mask is ever stored.
namespace kg::kernels::cuda {

/// Elements that share one evaluation of Philox, a word each.
inline constexpr int quad_size = philox_size;

/// Four consecutive elements, the first at a multiple of four in the whole tensor: one pack of float, two of
/// double.
template <class T>
struct Quad {
  T values[quad_size];
};

/// Calls body(i) for each element of a quad. No loop: where the body does something for some elements only,
/// the index must be a constant all the same, or quads would lie in memory instead of registers.
template <class Body>
__device__ void for_quad(const Body& body) {
  static_assert(quad_size == 4);
  body(0);
  body(1);
  body(2);
  body(3);
}

/// Elements first, first + 1, ... of an array of `count`; 0 for those beyond its end.
template <class T>
__device__ Quad<T> load_quad(const T* array, std::int64_t first, std::int64_t count) {
  Quad<T> quad;
#pragma unroll
  for (int i = 0; i < quad_size; i += pack_size<T>) {
    const Pack<T> pack = load_pack(array, first + i, count);
#pragma unroll
    for (int j = 0; j < pack_size<T>; ++j) quad.values[i + j] = pack.values[j];
  }
  return quad;
}

/// Writes elements first, first + 1, ... of an array of `count`, those that exist.
template <class T>
__device__ void store_quad(T* array, std::int64_t first, std::int64_t count, const Quad<T>& quad) {
#pragma unroll
  for (int i = 0; i < quad_size; i += pack_size<T>) {
    Pack<T> pack;
#pragma unroll
    for (int j = 0; j < pack_size<T>; ++j) pack.values[j] = quad.values[i + j];
    store_pack(array, first + i, count, pack);
  }
}

/// A DropoutProblem as kernels take it: what is the same for all elements is computed once, on the host.
template <class T>
struct DropoutMask {
  bool enabled;
  std::uint64_t seed, offset;
  const std::uint64_t* offset_base;
  std::uint64_t threshold;
  T scale;

  explicit DropoutMask(const DropoutProblem& p)
      : enabled(p.p > 0),
        seed(p.seed),
        offset(p.offset),
        offset_base(p.offset_base),
        threshold(p.drop_threshold()),
        scale(static_cast<T>(p.scale())) {}

  /// The number of this draw. Call it once in a kernel: it may read memory.
  __device__ std::uint32_t draw() const {
    return static_cast<std::uint32_t>(offset + (offset_base ? *offset_base : 0));
  }

  /// Drops or scales the elements first, first + 1, first + 2 and first + 3; `first` is a multiple of four.
  __device__ void apply(std::uint32_t draw, std::int64_t first, Quad<T>& quad) const {
    const PhiloxWords draws =
        philox(seed, RandomPurpose::dropout, draw, static_cast<std::uint64_t>(first) / quad_size);
#pragma unroll
    for (int i = 0; i < quad_size; ++i)
      // A product where dropped, too: NaN and infinity, which nothing should hide, come out as NaN.
      quad.values[i] *= draws.words[i] >= threshold ? scale : T(0);
  }
};

}  // namespace kg::kernels::cuda
