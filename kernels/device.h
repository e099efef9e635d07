// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <string>

namespace kg::kernels {

/// What a backend offers besides arithmetic: memory and copies, in bytes. Memory is aligned to 64 bytes.
struct DeviceFunctions {
  void* (*allocate)(std::size_t bytes);
  void (*release)(void* memory, std::size_t bytes) noexcept;
  void (*copy_from_host)(void* device, const void* host, std::size_t bytes);
  void (*copy_to_host)(void* host, const void* device, std::size_t bytes);
  void (*copy_within)(void* to, const void* from, std::size_t bytes);
  /// Returns once everything queued on the stream has run.
  void (*synchronize)();
};

namespace cpu {
const DeviceFunctions& device();
}  // namespace cpu

namespace cuda {
const DeviceFunctions& device();
/// True if a kernel launched now would run.
bool is_available();
/// Why is_available() is false ("this build has no CUDA backend", "no driver"), empty when it is true.
std::string unavailable_reason();
/// The device's product name.
std::string device_name();
/// What the device can do at best, from its clocks: 10^9 float32 operations outside the tensor cores, and
/// 10^9 bytes of memory traffic, a second.
struct Peaks {
  double gflops, gbs;
};
Peaks peaks();
}  // namespace cuda

}  // namespace kg::kernels
