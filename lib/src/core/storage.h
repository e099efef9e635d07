// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernelgrad/device.h"
#include "kernels/device.h"

namespace kg {

/// The functions of the device's backend.
const kernels::DeviceFunctions& functions_of(Device device);

/// Bytes on a device, released with their owner.
class Storage : public std::enable_shared_from_this<Storage> {
 public:
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  /// Throws Error if the memory is lost.
  void* data() const {
    if (device_.is_cuda()) note_use();
    return data_;
  }
  /// True if it was allocated by work that was being recorded for a graph. It goes with the recording: what
  /// is left of it then is lost.
  bool is_recorded() const { return recording_is_over_ != nullptr; }
  bool is_lost() const { return is_recorded() && *recording_is_over_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  /// Tensor::version().
  std::uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void bump_version() { version_.fetch_add(1, std::memory_order_relaxed); }

 private:
  void note_use() const;

  /// Before data_: whether there is a recording must be known before memory is its.
  std::shared_ptr<const std::atomic<bool>> recording_is_over_;
  void* data_;
  std::size_t bytes_;
  Device device_;
  std::atomic<std::uint64_t> version_ = 0;
};

}  // namespace kg
