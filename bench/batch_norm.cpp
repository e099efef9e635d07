// SPDX-License-Identifier: MIT
#include "kernels/batch_norm.h"

#include "bench.h"

namespace {

/// In training. The fused one is dropout(batch_norm(relu(x))) in one call, as s7_final has it.
struct Case {
  kg::Shape input;
  bool fused;

  kg::kernels::BatchNormProblem problem() const {
    return {.n = input[0],
            .channels = input[1],
            .plane = input[2] * input[3],
            .relu_before = fused,
            .dropout = {.p = fused ? 0.1 : 0}};
  }
  std::string name() const {
    return bench::shape_suffix(input) + bench::option_suffix("relu_before", fused, 0) +
           bench::option_suffix("dropout", fused ? 0.1 : 0, 0);
  }
};

std::function<void()> forward(const Case& c) {
  const kg::Shape channels = {c.input[1]};
  return [c, input = bench::random_tensor(c.input), gamma = kg::Tensor::ones(channels, bench::options()),
          beta = kg::Tensor::zeros(channels, bench::options()),
          running_mean = kg::Tensor::zeros(channels, bench::options()),
          running_var = kg::Tensor::ones(channels, bench::options())] {
    kg::batch_norm(input, gamma, beta, running_mean, running_var,
                   {.training = true, .relu_before = c.fused, .dropout = c.problem().dropout.p});
  };
}

std::function<void()> backward(const Case& c) {
  const kg::Shape channels = {c.input[1]};
  return [c, channels, input = bench::random_tensor(c.input), grad_output = bench::random_tensor(c.input),
          gamma = kg::Tensor::ones(channels, bench::options()),
          beta = kg::Tensor::zeros(channels, bench::options()),
          mean = kg::Tensor::zeros(channels, bench::options()),
          inv_std = kg::Tensor::ones(channels, bench::options())] {
    kg::Tensor grad_input = bench::empty(c.input);
    kg::Tensor grad_gamma = bench::empty(channels), grad_beta = bench::empty(channels);
    bench::run<kg::kernels::BatchNormKernels>(
        "backward", c.problem().description(), [&]<class T>(const kg::kernels::BatchNormKernels<T>& kernels) {
          kernels.backward(c.problem(), true, kg::raw<T>(input), kg::raw<T>(grad_output), kg::raw<T>(gamma),
                           kg::raw<T>(beta), kg::raw<T>(mean), kg::raw<T>(inv_std), kg::raw<T>(grad_input),
                           kg::raw<T>(grad_gamma), kg::raw<T>(grad_beta));
        });
  };
}

const bench::Registrar registrar([] {
  for (const bool fused : {false, true})
    for (const kg::Shape& shape : bench::activation_shapes) {
      const Case c{shape, fused};
      const std::int64_t count = kg::numel(shape);
      bench::add("batch_norm_forward" + c.name(), {.bytes = bench::float_bytes(2 * count)},
                 [c] { return forward(c); });
      bench::add("batch_norm_backward" + c.name(), {.bytes = bench::float_bytes(3 * count)},
                 [c] { return backward(c); });
    }
});

}  // namespace
