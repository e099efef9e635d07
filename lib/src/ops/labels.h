// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "kernelgrad/tensor.h"

namespace kg {

/// The labels of a loss as int64, checked to be integers [n] on the device of `scores`, which are checked to
/// be [n, classes] with n > 0 and go by the name `name` in messages. Throws Error also on a label outside [0,
/// classes) if they are on the CPU: to look at those on another device would mean waiting for it.
Tensor checked_labels(std::string_view op, std::string_view name, const Tensor& scores, const Tensor& labels);

}  // namespace kg
