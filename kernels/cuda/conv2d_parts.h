// SPDX-License-Identifier: MIT
#pragma once

#include "kernels/conv2d.h"

/// What conv2d.cu chooses from. Everything is defined for float and double.
namespace kg::kernels::cuda {

/// Conv2dKernels<T>::forward and backward_input for problems that the tiled kernel is made for. Return false,
/// with nothing done, for the others.
template <class T>
bool conv2d_forward_tiled(const Conv2dProblem& problem, const T* input, const T* weight, const T* bias,
                          T* output);
template <class T>
bool conv2d_backward_input_tiled(const Conv2dProblem& problem, const T* grad_output, const T* weight,
                                 T* grad_input);

/// The same for every legal problem.
template <class T>
void conv2d_forward_general(const Conv2dProblem& problem, const T* input, const T* weight, const T* bias,
                            T* output);
template <class T>
void conv2d_backward_input_general(const Conv2dProblem& problem, const T* grad_output, const T* weight,
                                   T* grad_input);

/// Conv2dKernels<T>::backward_weight and backward_bias.
template <class T>
void conv2d_backward_weight(const Conv2dProblem& problem, const T* input, const T* grad_output,
                            T* grad_weight);
template <class T>
void conv2d_backward_bias(const Conv2dProblem& problem, const T* grad_output, T* grad_bias);

}  // namespace kg::kernels::cuda
