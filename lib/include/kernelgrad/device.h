// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "kernelgrad/export.h"

namespace KG_API kg {

/// Where a tensor's memory lies and its operations run.
class Device {
 public:
  enum class Type { cpu, cuda };

  /// The CPU.
  constexpr Device() = default;
  constexpr explicit Device(Type type) : type_(type) {}

  static constexpr Device cpu() { return Device(Type::cpu); }
  static constexpr Device cuda() { return Device(Type::cuda); }
  /// CUDA where it is available, otherwise the CPU.
  static Device best();
  /// "cpu", "cuda", or "auto" for best(). Throws Error on anything else, and on "cuda" where it is not
  /// available, saying why.
  static Device parse(std::string_view name);

  constexpr Type type() const { return type_; }
  constexpr bool is_cpu() const { return type_ == Type::cpu; }
  constexpr bool is_cuda() const { return type_ == Type::cuda; }
  /// "cpu" or "cuda".
  std::string name() const;

  friend constexpr bool operator==(Device, Device) = default;

 private:
  Type type_ = Type::cpu;
};

/// True if tensors can be put on Device::cuda().
bool cuda_is_available();
/// Why cuda_is_available() is false; empty when it is true.
std::string cuda_unavailable_reason();
/// Product name of Device::cuda(): "NVIDIA H100 80GB HBM3". Throws Error where it is not available.
std::string cuda_device_name();

/// How many CPU threads the operations use at most. At first OMP_NUM_THREADS (the first number of a list; one
/// that is not from 1 to 1024 is ignored, with a line on stderr), else as many as there are CPUs for this
/// process by its affinity, by its control group's quota, and by SLURM_CPUS_PER_TASK. Threads beyond the CPUs
/// bring nothing. Results do not depend on the number, bit for bit. Where the system has no threads the
/// calling one works alone; the child of a fork() makes its own.
int num_threads();
/// Sets num_threads(). Throws Error unless count is from 1 to 1024.
void set_num_threads(int count);

/// Calls body(i) for every i in [0, count), on the threads that the operations use, and returns when all
/// calls have. For results that do not depend on the number of threads, each call should write to places of
/// its own. Throws again the first exception that a call throws, and Error on an empty body.
void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body);

}  // namespace kg
