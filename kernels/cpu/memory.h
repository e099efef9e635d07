// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <utility>

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

}  // namespace kg::kernels::cpu
