// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "cases/log_softmax.h"
#include "kernelgrad/kernelgrad.h"

/// Labels for the tests of the losses.
namespace kg::testing {

/// One for each row, at random.
inline std::vector<std::int64_t> labels_of(const cases::Rows& p) {
  RandomStream stream(5, RandomPurpose::user);
  std::vector<std::int64_t> labels(static_cast<std::size_t>(p.rows));
  for (std::int64_t& label : labels) label = stream.below(static_cast<std::uint32_t>(p.classes));
  return labels;
}

inline Tensor label_tensor(const std::vector<std::int64_t>& labels, Device device = {}) {
  return Tensor::from(labels, {static_cast<std::int64_t>(labels.size())}, device);
}

/// The devices on which a label out of range is no error but makes the loss NaN.
inline std::vector<Device> devices_without_label_check(std::vector<Device> devices) {
  std::erase_if(devices, [](Device device) { return device.is_cpu(); });
  return devices;
}

}  // namespace kg::testing
