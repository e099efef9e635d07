// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

#include "kernels/conv2d.h"

namespace kg {

/// The kernels copy an image with its padding, sorted by remainder modulo the strides. Throws Error where
/// that is more than memory can hold: the number of bytes could not be computed in 64 bits.
void check_padded_size(std::string_view op, const kernels::Conv2dProblem& problem);

}  // namespace kg
