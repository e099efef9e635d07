// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "kernelgrad/nn.h"

namespace mnist {

/// The table that Python's torchsummary prints for a network: a row per module in the order in which they
/// finish, with output shape and number of parameters, then totals and sizes in MB (4 bytes a number,
/// activations counted twice: once for their gradients). Plain containers and functions called without a
/// module of their own have no row.
///
/// `input` is the shape of one sample, [channels, height, width].
std::string summary_table(kg::nn::Module& network, const kg::Shape& input);

}  // namespace mnist
