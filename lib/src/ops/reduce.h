// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/tensor.h"

namespace kg {

/// scale * the sum of input over the dimensions d with kept[d] == false, in the shape with extent 1 there.
/// Not recorded.
Tensor reduce_sum(const Tensor& input, const std::vector<bool>& kept, double scale);

/// Copies input, whose reduced dimensions have extent 1, along them to `shape`, times `factor`. Not recorded.
Tensor expand(const Tensor& input, const Shape& shape, double factor);

}  // namespace kg
