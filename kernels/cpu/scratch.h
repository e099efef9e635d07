// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace kg::kernels::cpu {

/// Working memory of one thread that keeps its size from call to call, aligned to 64 bytes. Contents are
/// unspecified. Declare as thread_local.
template <class T>
class Scratch {
 public:
  Scratch() = default;
  ~Scratch() { std::free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* reserve(std::int64_t count) {
    if (count > capacity_) {
      std::free(data_);
      capacity_ = (count + 63) / 64 * 64;
      data_ = static_cast<T*>(std::aligned_alloc(64, static_cast<std::size_t>(capacity_) * sizeof(T)));
      if (!data_) {
        capacity_ = 0;
        throw std::bad_alloc();
      }
    }
    return data_;
  }

 private:
  T* data_ = nullptr;
  std::int64_t capacity_ = 0;
};

}  // namespace kg::kernels::cpu
