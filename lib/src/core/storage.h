#pragma once

#include <cstddef>

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

 private:
  void* data_;
  std::size_t bytes_;
  Device device_;
};

}  // namespace kg
