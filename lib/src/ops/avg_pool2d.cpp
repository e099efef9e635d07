// SPDX-License-Identifier: MIT
#include "kernels/avg_pool2d.h"

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "ops/check.h"

namespace kg {

Tensor avg_pool2d(const Tensor& input, Pair kernel, const PoolOptions& options) try {
  const kernels::Pool2dProblem problem = check::pooling("avg_pool2d", input, kernel, options);
  const TensorOptions like = input.options();
  const bool count_include_pad = options.count_include_pad;
  const Description description = problem.description().note(", padding not counted", !count_include_pad);
  Tensor output = Tensor::empty({input.size(0), input.size(1), problem.out_h(), problem.out_w()}, like);
  // Without images they could be larger than kernels can multiply.
  if (input.numel() > 0)
    dispatch::run<kernels::AvgPool2dKernels>("forward", like, description, [&](const auto& kernels) {
      compute(kernels.forward, problem, count_include_pad, input, output);
    });
  const auto rule = [=, input_shape = input.shape()](const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = unwritten(input_shape, like);
    if (gradient.numel() > 0)
      dispatch::run<kernels::AvgPool2dKernels>("backward", like, description, [&](const auto& kernels) {
        compute(kernels.backward, problem, count_include_pad, call.grad_output, gradient);
      });
    return {gradient};
  };
  return record("avg_pool2d", output, {input}, rule);
} catch (const std::bad_alloc&) {
  no_memory("avg_pool2d");
}

}  // namespace kg
