// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "kernels/device.h"

namespace kg::kernels::cpu {

/// Memory from the device, which keeps what one step releases for the next.
class Memory {
 public:
  /// Contents unspecified.
  explicit Memory(std::size_t bytes) : bytes_(bytes), data_(device().allocate(bytes)) {}
  ~Memory() {
    if (data_) device().release(data_, bytes_);
  }
  Memory(Memory&& other) noexcept : bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}
  Memory& operator=(Memory&&) = delete;

  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  std::size_t bytes_;
  void* data_;
};

/// Where an Array's elements lie: small ones where the program's own do, large ones in memory of the device.
template <class T>
struct ArrayAllocator {
  using value_type = T;
  static constexpr std::size_t small_bytes = 4096;

  ArrayAllocator() = default;
  template <class U>
  ArrayAllocator(const ArrayAllocator<U>&) {}

  T* allocate(std::size_t count) {
    if (count <= small_bytes / sizeof(T)) return std::allocator<T>().allocate(count);
    if (count > PTRDIFF_MAX / sizeof(T)) throw std::bad_alloc();
    return static_cast<T*>(device().allocate(count * sizeof(T)));
  }
  void deallocate(T* memory, std::size_t count) {
    if (count <= small_bytes / sizeof(T)) return std::allocator<T>().deallocate(memory, count);
    device().release(memory, count * sizeof(T));
  }
  bool operator==(const ArrayAllocator&) const { return true; }
};

/// A vector for what a kernel keeps while it runs: no step of a training asks the system for what the one
/// before it has released.
template <class T>
using Array = std::vector<T, ArrayAllocator<T>>;

}  // namespace kg::kernels::cpu
