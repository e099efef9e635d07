// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/device.h"

namespace kg::kernels::cuda {

/// Device memory for the length of a scope. Stream-ordered: work that is queued before the end of the scope
/// may use it, although it has not run by then.
template <class T>
class Scratch {
 public:
  explicit Scratch(std::int64_t count)
      : bytes_(static_cast<std::size_t>(count) * sizeof(T)),
        data_(static_cast<T*>(device().allocate(bytes_))) {}
  ~Scratch() { device().release(data_, bytes_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() const { return data_; }

 private:
  std::size_t bytes_;
  T* data_;
};

}  // namespace kg::kernels::cuda
