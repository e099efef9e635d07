// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernelgrad/export.h"

namespace KG_API kg {
namespace cuda {

/// Arrays in shared memory start at multiples of this, so that 16-byte accesses to their beginning are
/// aligned.
inline constexpr std::size_t shared_alignment = 16;

__host__ __device__ constexpr std::size_t align_shared(std::size_t bytes) {
  return (bytes + shared_alignment - 1) / shared_alignment * shared_alignment;
}

/// Host side: adds up what a kernel's arrays take, in whatever order.
///
///     .shared_bytes = SharedLayout().array<T>(tile).array<int>(rows).bytes()
class SharedLayout {
 public:
  template <class T>
  constexpr SharedLayout& array(std::size_t count) {
    bytes_ += align_shared(count * sizeof(T));
    return *this;
  }
  constexpr std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

/// Device side: hands out the block's shared memory, array by array. Every thread that makes the same calls
/// gets the same arrays. All shared memory comes from here: there is no __shared__ anywhere else.
///
///     SharedMemory shared;
///     T* tile = shared.array<T>(tile_size);
class SharedMemory {
 public:
  __device__ SharedMemory() {
    // One type for all kernels: the symbol is the same in every instantiation of every template.
    extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
    next_ = dynamic_shared_memory;
  }

  template <class T>
  __device__ T* array(std::size_t count) {
    T* result = reinterpret_cast<T*>(next_);
    next_ += align_shared(count * sizeof(T));
    return result;
  }

 private:
  unsigned char* next_;
};

}  // namespace cuda
}  // namespace kg
