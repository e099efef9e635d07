// SPDX-License-Identifier: MIT
#pragma once

#include "kernels/conv2d.h"

namespace kg::kernels::cuda {

/// Conv2dKernels<T>::backward_weight. Defined for float and double.
template <class T>
void conv2d_backward_weight(const Conv2dProblem& problem, const T* input, const T* grad_output,
                            T* grad_weight);

/// Conv2dKernels<T>::backward_bias. Defined for float and double.
template <class T>
void conv2d_backward_bias(const Conv2dProblem& problem, const T* grad_output, T* grad_bias);

}  // namespace kg::kernels::cuda
