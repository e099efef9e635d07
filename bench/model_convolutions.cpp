// SPDX-License-Identifier: MIT
#include "convolutions.h"
#include "models/recipe.h"

namespace {

using kg::kernels::Conv2dProblem;

/// The convolutions of a network whose layers follow one another, all of stride 1: what went into each is
/// what came out of the layer before.
std::vector<Conv2dProblem> convolutions_of(kg::nn::Module& network, std::int64_t images) {
  std::vector<Conv2dProblem> problems;
  kg::Shape input = {1, 1, 28, 28};
  const auto padding = [](std::int64_t out, std::int64_t in, std::int64_t kernel) {
    return (out - in + kernel - 1) / 2;
  };
  const kg::nn::ForwardHook hook([&](const kg::nn::Module& module, const kg::Tensor& output) {
    if (module.type_name() == "Conv2d") {
      const kg::Shape weight = module.parameters().at(0).shape();
      problems.push_back({.n = images,
                          .c_in = input[1],
                          .h = input[2],
                          .w = input[3],
                          .c_out = weight[0],
                          .k_h = weight[2],
                          .k_w = weight[3],
                          .padding_h = padding(output.size(2), input[2], weight[2]),
                          .padding_w = padding(output.size(3), input[3], weight[3])});
    }
    input = output.shape();
  });
  const kg::NoGrad no_grad;
  network.eval();
  network(kg::Tensor::zeros(input));
  return problems;
}

std::vector<Conv2dProblem> model_convolutions() {
  std::vector<Conv2dProblem> problems;
  for (const mnist::Recipe& recipe : mnist::recipes()) {
    kg::nn::Sequential network = recipe.network();
    const std::vector<Conv2dProblem> more = convolutions_of(network, recipe.batch_size);
    problems.insert(problems.end(), more.begin(), more.end());
  }
  return problems;
}

const bench::ConvolutionSource models(model_convolutions);

}  // namespace
