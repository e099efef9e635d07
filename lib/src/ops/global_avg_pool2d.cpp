// SPDX-License-Identifier: MIT
#include "kernels/global_avg_pool2d.h"

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

Tensor global_avg_pool2d(const Tensor& input) try {
  const check::Argument x{"global_avg_pool2d", "input", input};
  check::is_floating(x);
  check::has_rank(x, 4, "[n, c, h, w]");
  check::has_images(x);
  const std::int64_t planes = checked_numel("global_avg_pool2d", {input.size(0), input.size(1)}),
                     // Without images they could be larger than 64 bits can count.
      plane = planes == 0 ? 1 : input.size(2) * input.size(3);
  const TensorOptions like = input.options();
  Tensor output = Tensor::empty({input.size(0), input.size(1), 1, 1}, like);
  const Description description = Description().extents("", {planes}).extents(" planes of ", {plane});
  dispatch::run<kernels::GlobalAvgPool2dKernels>("forward", like, description, [&](const auto& kernels) {
    compute(kernels.forward, planes, plane, input, output);
  });
  const auto rule = [=, input_shape = input.shape()](const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = unwritten(input_shape, like);
    dispatch::run<kernels::GlobalAvgPool2dKernels>("backward", like, description, [&](const auto& kernels) {
      compute(kernels.backward, planes, plane, call.grad_output, gradient);
    });
    return {gradient};
  };
  return record("global_avg_pool2d", output, {input}, rule);
} catch (const std::bad_alloc&) {
  no_memory("global_avg_pool2d");
}

}  // namespace kg
