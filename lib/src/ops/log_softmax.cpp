// SPDX-License-Identifier: MIT
#include "kernels/log_softmax.h"

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

Tensor log_softmax(const Tensor& input) try {
  const check::Argument x{"log_softmax", "input", input};
  check::is_floating(x);
  if (input.dim() < 1 || input.size(-1) < 1)
    throw Error(x.described() + ", expected [..., classes] with at least one class");
  const std::int64_t classes = input.size(-1), rows = input.numel() / classes;
  const TensorOptions like = input.options();
  Tensor output = Tensor::empty(input.shape(), like);
  const Description description = Description().extents("", {rows}).extents(" rows of ", {classes});
  dispatch::run<kernels::LogSoftmaxKernels>("forward", like, description, [&](const auto& kernels) {
    compute(kernels.forward, rows, classes, input, output);
  });
  const SavedTensor saved(output, "output");
  const auto rule = [=](const BackwardCall& call) -> std::vector<Tensor> {
    const Tensor result = saved.unpack(call);
    Tensor gradient = Tensor::empty(result.shape(), like);
    dispatch::run<kernels::LogSoftmaxKernels>("backward", like, description, [&](const auto& kernels) {
      compute(kernels.backward, rows, classes, result, call.grad_output, gradient);
    });
    return {gradient};
  };
  return record("log_softmax", output, {input}, rule);
} catch (const std::bad_alloc&) {
  no_memory("log_softmax");
}

}  // namespace kg
