// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/tensor.h"

/// What is written into tensors that exist. Not recorded, and no version is bumped.
namespace kg {

/// Every element of a floating-point tensor becomes `value`.
void fill(Tensor& x, double value);

/// sum += x, of one shape, dtype and device.
void accumulate(const Tensor& x, Tensor& sum);

}  // namespace kg
