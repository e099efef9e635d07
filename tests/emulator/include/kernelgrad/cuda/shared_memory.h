// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

/// Stands in for the header of the same name in the emulator's builds, with the same interface: every array
/// lies between red zones, and what is handed out is checked against what the launch asked for.

namespace emulator {

/// The block's shared array number `index`, which on a GPU would start at `offset`.
void* shared_array(std::size_t index, std::size_t offset, std::size_t bytes);

}  // namespace emulator

namespace kg::cuda {

inline constexpr std::size_t shared_alignment = 16;

__host__ __device__ constexpr std::size_t align_shared(std::size_t bytes) {
  return (bytes + shared_alignment - 1) / shared_alignment * shared_alignment;
}

class SharedLayout {
 public:
  template <class T>
  constexpr SharedLayout& array(std::size_t count) {
    static_assert(alignof(T) <= shared_alignment);
    bytes_ += align_shared(count * sizeof(T));
    return *this;
  }
  constexpr std::size_t bytes() const { return bytes_; }

 private:
  std::size_t bytes_ = 0;
};

class SharedMemory {
 public:
  template <class T>
  __device__ T* array(std::size_t count) {
    static_assert(alignof(T) <= shared_alignment);
    const std::size_t bytes = count * sizeof(T);
    void* const result = emulator::shared_array(index_++, offset_, bytes);
    offset_ += align_shared(bytes);
    return static_cast<T*>(result);
  }

 private:
  std::size_t index_ = 0;
  std::size_t offset_ = 0;
};

}  // namespace kg::cuda
