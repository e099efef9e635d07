// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "kernelgrad/nn.h"

namespace mnist {

/// What a convolution or a pooling sees of the network's input, and what becomes of the map's size. After
/// Araujo, Norris & Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill, 2019:
///
///     n_out = floor((n_in + 2 padding - kernel) / stride) + 1
///     rf_out = rf_in + (kernel - 1) * jump_in
///     jump_out = jump_in * stride
///
/// rf is the width of the input that an element depends on, jump the distance in the input between what two
/// neighbours depend on; all numbers are pixels of the input, or elements of the map.
///
/// A pooling of the whole map has one position and so no step to the next: its stride is written as 1.
struct ReceptiveField {
  std::string block;  ///< "Convolution Block", "Transition Block", "Pooling Layer", ...
  bool begins_block;
  std::string layer;  ///< "conv1", "maxpool", "GAP"
  std::int64_t rf_in, n_in, jump_in;
  std::int64_t stride, padding, kernel;
  std::int64_t rf_out, n_out, jump_out;
};

/// The convolutions and poolings of a network whose modules run in their order, for input of size x size.
/// Throws kg::Error where one of them is not square or does not fit its map.
std::vector<ReceptiveField> receptive_fields(const kg::nn::Module& network, std::int64_t size);

/// Their table, in Markdown.
std::string receptive_field_table(const kg::nn::Module& network, std::int64_t size);

}  // namespace mnist
