// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "kernels/conv2d.h"
#include "kernels/cpu/blocks.h"

/// Convolution of images in blocks. What a batch norm or a pooling has yet to do to input or gradient is done
/// when a block is loaded.
namespace kg::kernels::cpu {

/// Whether a convolution is faster in blocks.
template <class T>
bool takes_blocks(const Conv2dProblem& problem);

/// Whoever reads the output first computes it, unless the input `is_plain` and may change before.
template <class T>
void conv2d_forward(const Conv2dProblem& problem, std::shared_ptr<const Blocks<T>> input, bool is_plain,
                    const T* weight, const T* bias, Output<T> output);

/// The gradient of the input, unless grad_input is null (weight may be, then), and of the weight, unless
/// grad_weight is null (input may be, then).
template <class T>
void conv2d_backward(const Conv2dProblem& problem, const std::shared_ptr<const Blocks<T>>& input,
                     const T* weight, const Blocks<T>& grad_output, Output<T> grad_input, T* grad_weight);

}  // namespace kg::kernels::cpu
