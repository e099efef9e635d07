// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "kernels/conv2d.h"
#include "kernels/cpu/batch_norm_plane.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/memory.h"

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

/// The images behind a batch norm in inference, which the convolution in front of it applies to its sums.
/// Null where the images are not a pending convolution's, or somebody has read them.
template <class T>
std::shared_ptr<const Blocks<T>> with_batch_norm(const std::shared_ptr<const Blocks<T>>& images,
                                                 const Array<Channel<T>>& channels);

/// The gradient of the input, unless grad_input is null (weight may be, then), and of the weight, unless
/// grad_weight is null (input may be, then).
template <class T>
void conv2d_backward(const Conv2dProblem& problem, const std::shared_ptr<const Blocks<T>>& input,
                     const T* weight, const Blocks<T>& grad_output, Output<T> grad_input, T* grad_weight);

}  // namespace kg::kernels::cpu
