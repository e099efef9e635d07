// SPDX-License-Identifier: MIT
#pragma once

#include "kernels/conv2d.h"

/// Convolution by its formula, a loop for each index. Slow, but it needs no memory besides the arrays: for
/// problems whose padding, stride or dilation is so large that a padded copy of an image would be mostly
/// zeros.
namespace kg::kernels::cpu {

template <class T>
void conv2d_forward_direct(const Conv2dProblem& p, const T* input, const T* weight, const T* bias, T* output);
template <class T>
void conv2d_backward_input_direct(const Conv2dProblem& p, const T* grad_output, const T* weight,
                                  T* grad_input);
template <class T>
void conv2d_backward_weight_direct(const Conv2dProblem& p, const T* input, const T* grad_output,
                                   T* grad_weight);

}  // namespace kg::kernels::cpu
