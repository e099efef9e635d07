#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernelgrad/device.h"
#include "kernels/device.h"

namespace kg {

/// The functions of the device's backend.
const kernels::DeviceFunctions& functions_of(Device device);

/// Bytes on a device, released with their owner.
class Storage {
 public:
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  /// Tensor::version().
  std::uint64_t version() const { return version_.load(std::memory_order_relaxed); }
  void bump_version() { version_.fetch_add(1, std::memory_order_relaxed); }

 private:
  void* data_;
  std::size_t bytes_;
  Device device_;
  std::atomic<std::uint64_t> version_ = 0;
};

}  // namespace kg
