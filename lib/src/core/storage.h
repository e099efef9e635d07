// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>

#include "kernelgrad/device.h"
#include "kernels/device.h"
#include "kernels/form.h"

namespace kg {

/// The functions of the device's backend.
const kernels::DeviceFunctions& functions_of(Device device);

/// Bytes on a device, released with their owner; or a form that stands for them (kernels/form.h), until
/// somebody asks for the bytes. On the CPU memory is taken then, and not before.
class Storage final : public std::enable_shared_from_this<Storage>, public kernels::Holder {
 public:
  Storage(std::size_t bytes, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  /// The elements, made plain if they are in a form. Throws Error if the memory is lost, std::bad_alloc if
  /// there is none.
  void* data() const {
    if (device_.is_cuda()) note_use();
    if (!is_plain_.load(std::memory_order_acquire)) make_plain();
    return data_;
  }
  void* plain() override { return data(); }
  std::shared_ptr<const kernels::Form> form() const override;
  bool takes_form() const override { return !is_plain_.load(std::memory_order_acquire); }
  void keep(std::shared_ptr<const kernels::Form> form) override;

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
  void make_plain() const;

  std::shared_ptr<const std::atomic<bool>> recording_is_over_;
  std::size_t bytes_;
  Device device_;
  /// Of what follows until is_plain_ is true: two threads may read a tensor, and either makes it plain.
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const kernels::Form> form_;
  mutable void* data_ = nullptr;
  mutable std::atomic<bool> is_plain_ = false;
  std::atomic<std::uint64_t> version_ = 0;
};

}  // namespace kg
