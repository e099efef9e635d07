// SPDX-License-Identifier: MIT
#pragma once

#include "kernels/conv2d.h"

namespace kg::kernels::cuda {

/// Conv2dKernels<T>::forward for every legal problem. Defined for float and double.
template <class T>
void conv2d_forward_general(const Conv2dProblem& problem, const T* input, const T* weight, const T* bias,
                            T* output);

/// Conv2dKernels<T>::backward_input, likewise.
template <class T>
void conv2d_backward_input_general(const Conv2dProblem& problem, const T* grad_output, const T* weight,
                                   T* grad_input);

}  // namespace kg::kernels::cuda
