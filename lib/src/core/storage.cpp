#include "core/storage.h"

namespace kg {

const kernels::DeviceFunctions& functions_of(Device device) {
  return device.is_cuda() ? kernels::cuda::device() : kernels::cpu::device();
}

Storage::Storage(std::size_t bytes, Device device)
    : data_(functions_of(device).allocate(bytes, {})), bytes_(bytes), device_(device) {}

Storage::~Storage() { functions_of(device_).release(data_, bytes_, {}); }

}  // namespace kg
