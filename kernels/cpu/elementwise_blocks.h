// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "kernels/cpu/blocks.h"
#include "kernels/elementwise.h"

/// Functions of one element on images in blocks.
namespace kg::kernels::cpu {

/// unary() of kernels/elementwise.h.
template <class T>
void unary_of_blocks(const UnaryFunction& function, const std::shared_ptr<const Blocks<T>>& input,
                     Output<T> output);

/// unary_backward(), if what it goes by is in blocks. False if it is not: nothing has been done then.
template <class T>
bool unary_backward_of_blocks(const UnaryFunction& function, std::int64_t count, Input<T> saved,
                              Input<T> grad_output, Output<T> grad_input);

}  // namespace kg::kernels::cpu
