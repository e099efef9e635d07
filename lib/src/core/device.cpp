// SPDX-License-Identifier: MIT
#include "kernelgrad/device.h"

#include "kernelgrad/error.h"
#include "kernels/device.h"
#include "kernels/parallel.h"

namespace kg {

Device Device::best() { return cuda_is_available() ? cuda() : cpu(); }

Device Device::parse(std::string_view name) {
  if (name == "cpu") return cpu();
  if (name == "auto") return best();
  if (name != "cuda")
    throw Error("device: unknown name \"" + std::string(name) + "\", expected auto, cpu or cuda");
  if (!cuda_is_available()) throw Error("device: cuda is not available: " + cuda_unavailable_reason());
  return cuda();
}

std::string Device::name() const { return is_cuda() ? "cuda" : "cpu"; }

bool cuda_is_available() { return kernels::cuda::is_available(); }
std::string cuda_unavailable_reason() { return kernels::cuda::unavailable_reason(); }

std::string cuda_device_name() {
  if (!cuda_is_available())
    throw Error("cuda_device_name: cuda is not available: " + cuda_unavailable_reason());
  return kernels::cuda::device_name();
}

int num_threads() { return kernels::cpu::num_threads(); }

void set_num_threads(int count) {
  if (count < 1 || count > kernels::cpu::max_threads)
    throw Error("set_num_threads: " + std::to_string(count) +
                " threads given, expected at least 1 and at most " +
                std::to_string(kernels::cpu::max_threads));
  kernels::cpu::set_num_threads(count);
}

void parallel_for(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  if (!body) throw Error("parallel_for: the body is empty");
  kernels::cpu::parallel_for(count, body);
}

}  // namespace kg
