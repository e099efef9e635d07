// SPDX-License-Identifier: MIT
#pragma once

#include "kernels/conv2d.h"

/// Convolutions with many channels: these are in the lanes, and an image's pixels one after the other. A
/// weight is read once for several pixels, and no pixel is computed that is not wanted, however small the
/// image.
namespace kg::kernels::cpu {

/// Whether that is faster than the loops over an image's rows.
bool takes_channels(const Conv2dProblem& problem);

/// forward, backward_input and backward_weight of kernels/conv2d.h.
template <class T>
void conv2d_channels_forward(const Conv2dProblem& problem, const T* input, const T* weight, const T* bias,
                             T* output);
template <class T>
void conv2d_channels_backward_input(const Conv2dProblem& problem, const T* grad_output, const T* weight,
                                    T* grad_input);
template <class T>
void conv2d_channels_backward_weight(const Conv2dProblem& problem, const T* input, const T* grad_output,
                                     T* grad_weight);

}  // namespace kg::kernels::cpu
