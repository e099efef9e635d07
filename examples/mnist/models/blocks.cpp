// SPDX-License-Identifier: MIT
#include "models/blocks.h"

#include <memory>
#include <utility>

namespace mnist {

namespace nn = kg::nn;

namespace {

std::shared_ptr<nn::Module> layer_of(const Following& following, int channels) {
  switch (following.kind) {
    case Following::Kind::batch_norm:
      return std::make_shared<nn::BatchNorm2d>(channels);
    case Following::Kind::relu:
      return std::make_shared<nn::ReLU>();
    case Following::Kind::functional_relu:
      return std::make_shared<nn::Functional>(kg::relu);
    case Following::Kind::dropout:
      break;
  }
  return std::make_shared<nn::Dropout>(following.p);
}

nn::Conv2d convolution(int kernel, int in, int out, int padding = 0) {
  return nn::Conv2d(in, out, kernel, {.padding = padding, .bias = false});
}

nn::Sequential block(nn::Conv2d convolution, int channels, const Then& then) {
  nn::Sequential block(std::move(convolution));
  for (const Following& following : then) block.append(layer_of(following, channels));
  return block;
}

}  // namespace

nn::Sequential c1(int in, int out, const Then& then) { return block(convolution(1, in, out), out, then); }
nn::Sequential c3(int in, int out, const Then& then) { return block(convolution(3, in, out), out, then); }
nn::Sequential c3_padded(int in, int out, const Then& then) {
  return block(convolution(3, in, out, 1), out, then);
}

nn::Conv2d c1(int in, int out) { return convolution(1, in, out); }
nn::Conv2d c3(int in, int out) { return convolution(3, in, out); }
nn::Conv2d c6(int in, int out) { return convolution(6, in, out); }
nn::Conv2d c7(int in, int out) { return convolution(7, in, out); }

nn::Functional log_probabilities() {
  return nn::Functional([](const kg::Tensor& x) { return kg::log_softmax(kg::flatten(x, 1)); });
}

kg::nn::Sequential bare_10k() {
  return {c3(1, 10, {relu}),  c3(10, 10, {relu}), c3(10, 20, {relu}), max_pool(), c1(20, 10, {relu}),
          c3(10, 10, {relu}), c3(10, 20, {relu}), c1(20, 10, {relu}), c7(10, 10), log_probabilities()};
}

}  // namespace mnist
