// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "kernelgrad/export.h"
#include "kernelgrad/tensor.h"

namespace KG_API kg {
namespace nn {

/// A tensor of a module under its name ("0.weight").
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Parameters and buffers by name, in the order of the modules.
using StateDict = std::vector<NamedTensor>;

/// The first tensor of that name; undefined if there is none.
inline Tensor find_tensor(const StateDict& state, std::string_view name) {
  const auto found = std::ranges::find(state, name, &NamedTensor::name);
  return found == state.end() ? Tensor() : found->tensor;
}

}  // namespace nn
}  // namespace kg
