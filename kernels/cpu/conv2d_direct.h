// SPDX-License-Identifier: MIT
#pragma once

#include "kernels/conv2d.h"

/// Convolution by its formula, a loop for each index. Slow, but it needs no memory besides the arrays: for
/// problems whose padding, stride or dilation is so large that a padded copy of an image would be mostly
/// zeros.
namespace kg::kernels::cpu {

/// Without backward_bias, which has none of these.
Tables<Conv2dKernels> conv2d_direct();

}  // namespace kg::kernels::cpu
