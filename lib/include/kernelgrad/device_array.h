// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "kernelgrad/device.h"
#include "kernelgrad/export.h"

namespace KG_API kg {

class Storage;

namespace detail {

/// The memory of a DeviceArray.
class DeviceBytes {
 public:
  DeviceBytes(std::int64_t count, std::size_t size, Device device);
  void* data() const;
  Device device() const;
  /// `given` and `count` are numbers of elements.
  void copy_from(const void* host, std::size_t given, std::int64_t count, std::size_t size);
  void copy_to(void* host) const;

 private:
  std::shared_ptr<Storage> storage_;
};

}  // namespace detail

/// `count` values of any plain type in a device's memory, uninitialised at first: what a kernel takes that is
/// no tensor (parameters, totals, partial sums). It stays at its place for as long as it lives. Released in
/// the order of the stream: work that is queued before its end may use it, although it has not run by then.
///
///     kg::DeviceArray<Totals> totals(1);
///     kg::cuda::launch<add_kernel>(grid, totals.data());
///     const Totals sum = totals.to_vector().front();
template <class T>
class DeviceArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// Throws Error if `count` is negative, if the device is not available or has no memory left.
  explicit DeviceArray(std::int64_t count, Device device = Device::cuda())
      : bytes_(count, sizeof(T), device), size_(count) {}
  DeviceArray(DeviceArray&&) noexcept = default;
  DeviceArray& operator=(DeviceArray&&) noexcept = default;

  std::int64_t size() const { return size_; }
  Device device() const { return bytes_.device(); }

  /// Address on device(). Throws Error if the array was made by work recorded for a Graph that was refused.
  T* data() { return static_cast<T*>(bytes_.data()); }
  const T* data() const { return static_cast<const T*>(bytes_.data()); }

  /// Copies as many values as the array has, or throws Error. The caller may overwrite them at once.
  void copy_from(std::span<const T> values) {
    bytes_.copy_from(values.data(), values.size(), size_, sizeof(T));
  }

  /// The values, once everything queued before has run.
  std::vector<T> to_vector() const {
    std::vector<T> values(static_cast<std::size_t>(size_));
    bytes_.copy_to(values.data());
    return values;
  }

 private:
  detail::DeviceBytes bytes_;
  std::int64_t size_;
};

}  // namespace kg
