// SPDX-License-Identifier: MIT
#include "core/storage.h"

#include "core/capture.h"
#include "kernelgrad/error.h"

namespace kg {

const kernels::DeviceFunctions& functions_of(Device device) {
  return device.is_cuda() ? kernels::cuda::device() : kernels::cpu::device();
}

Storage::Storage(std::size_t bytes, Device device)
    : recording_is_over_(device.is_cuda() && Capture::active() ? Capture::active()->is_over() : nullptr),
      data_(functions_of(device).allocate(bytes)),
      bytes_(bytes),
      device_(device) {}

Storage::~Storage() {
  if (!is_lost()) functions_of(device_).release(data_, bytes_);
}

void Storage::note_use() const {
  if (is_lost())
    throw Error(
        "tensor: its memory is lost: it was allocated while work was being recorded for a graph, and went "
        "with the recording, which was refused");
  if (Capture* capture = Capture::active(); capture && !is_recorded()) capture->note_use(weak_from_this());
}

}  // namespace kg
