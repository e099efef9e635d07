// SPDX-License-Identifier: MIT
#include "core/storage.h"

#include <utility>

#include "core/capture.h"
#include "kernelgrad/error.h"

namespace kg {

const kernels::DeviceFunctions& functions_of(Device device) {
  return device.is_cuda() ? kernels::cuda::device() : kernels::cpu::device();
}

Storage::Storage(std::size_t bytes, Device device)
    : recording_is_over_(device.is_cuda() && Capture::active() ? Capture::active()->is_over() : nullptr),
      bytes_(bytes),
      device_(device) {
  if (device.is_cuda()) make_plain();  // now: memory that a recording takes is the recording's
}

Storage::~Storage() {
  if (data_ && !is_lost()) functions_of(device_).release(data_, bytes_);
}

std::shared_ptr<const kernels::Form> Storage::form() const {
  if (is_plain_.load(std::memory_order_acquire)) return nullptr;
  const std::lock_guard lock(mutex_);
  return form_;
}

void Storage::keep(std::shared_ptr<const kernels::Form> form) {
  const std::lock_guard lock(mutex_);
  if (is_plain_.load(std::memory_order_relaxed)) return form->write_plain(data_);
  form_ = std::move(form);
}

void Storage::make_plain() const {
  const std::lock_guard lock(mutex_);
  if (is_plain_.load(std::memory_order_relaxed)) return;
  if (!data_) data_ = functions_of(device_).allocate(bytes_);
  if (form_) form_->write_plain(data_);
  form_ = nullptr;
  is_plain_.store(true, std::memory_order_release);
}

void Storage::note_use() const {
  if (is_lost())
    throw Error(
        "tensor: its memory is lost: it was allocated while work was being recorded for a graph, and went "
        "with the recording, which was refused");
  if (Capture* capture = Capture::active(); capture && !is_recorded()) capture->note_use(weak_from_this());
}

}  // namespace kg
