// SPDX-License-Identifier: MIT
#include "kernelgrad/device_array.h"

#include <new>
#include <string>

#include "core/storage.h"
#include "kernelgrad/error.h"

namespace kg::detail {

DeviceBytes::DeviceBytes(std::int64_t count, std::size_t size, Device device) try {
  std::size_t bytes = 0;
  if (count < 0)
    throw Error("DeviceArray: " + std::to_string(count) + " elements asked for, expected 0 or more");
  if (__builtin_mul_overflow(static_cast<std::size_t>(count), size, &bytes)) throw std::bad_alloc();
  storage_ = std::make_shared<Storage>(bytes, device);
} catch (const std::bad_alloc&) {
  no_memory("DeviceArray");
}

void* DeviceBytes::data() const { return storage_->data(); }

Device DeviceBytes::device() const { return storage_->device(); }

void DeviceBytes::copy_from(const void* host, std::size_t given, std::int64_t count, std::size_t size) {
  if (given != static_cast<std::size_t>(count))
    throw Error("DeviceArray: " + std::to_string(given) + " values given, expected " + std::to_string(count));
  functions_of(device()).copy_from_host(data(), host, given * size);
}

void DeviceBytes::copy_to(void* host) const {
  functions_of(device()).copy_to_host(host, data(), storage_->bytes());
}

}  // namespace kg::detail
