// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include "augment/augment.h"
#include "kernelgrad/nn.h"

/// The words in which the networks are written. A convolution is named after its kernel and takes a list of
/// what follows it:
///
///     c3(10, 16, {bn, relu, dropout(0.1)})    3x3 from 10 channels to 16, batch norm, ReLU, dropout
///     c3_padded(10, 16, {relu})               the same with a padding of 1: its output has its input's size
///
/// No convolution has a bias; all have stride 1.
namespace mnist {

/// What follows a convolution.
struct Following {
  enum class Kind { batch_norm, relu, functional_relu, dropout } kind;
  double p = 0;  ///< of dropout
};

inline constexpr Following bn{Following::Kind::batch_norm};
inline constexpr Following relu{Following::Kind::relu};
/// A ReLU that is no module of its own in the source: a summary does not show it.
inline constexpr Following functional_relu{Following::Kind::functional_relu};
/// With p = 0 the module is there, does nothing and is shown.
constexpr Following dropout(double p) { return {Following::Kind::dropout, p}; }

using Then = std::vector<Following>;

kg::nn::Sequential c1(int in, int out, const Then& then);
kg::nn::Sequential c3(int in, int out, const Then& then);
kg::nn::Sequential c3_padded(int in, int out, const Then& then);
// Without anything that follows:
kg::nn::Conv2d c1(int in, int out);
kg::nn::Conv2d c3(int in, int out);
kg::nn::Conv2d c6(int in, int out);
kg::nn::Conv2d c7(int in, int out);

/// Halves the size.
inline kg::nn::MaxPool2d max_pool() { return kg::nn::MaxPool2d(2); }
/// The mean of a map of size x size.
inline kg::nn::AvgPool2d gap(int size) { return kg::nn::AvgPool2d(size); }

/// The network without batch norm that more than one of the sources begins with: 10,790 parameters.
kg::nn::Sequential bare_10k();

/// What every network ends with: [n, 10, 1, 1] to log-probabilities [n, 10].
kg::nn::Functional log_probabilities();

inline Augmentation no_augmentation() { return Augmentation(); }

}  // namespace mnist
