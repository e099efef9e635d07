// SPDX-License-Identifier: MIT
#include "kernels/log_softmax.h"

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

Tensor log_softmax(const Tensor& x) try {
  const check::Argument input{"log_softmax", "input", x};
  check::is_floating(input);
  if (x.dim() < 1 || x.size(-1) < 1)
    throw Error(input.described() + ", expected [..., classes] with at least one class");
  const std::int64_t classes = x.size(-1), rows = x.numel() / classes;
  const TensorOptions like = x.options();
  Tensor output = Tensor::empty(x.shape(), like);
  const Description description = Description().extents("", {rows}).extents(" rows of ", {classes});
  dispatch::run<kernels::LogSoftmaxKernels>("forward", like, description, [&](const auto& kernels) {
    compute(kernels.forward, rows, classes, x, output);
  });
  const auto rule = [=,
                     saved = SavedTensor(output, "output")](const BackwardCall& call) -> std::vector<Tensor> {
    const Tensor result = saved.unpack(call);
    Tensor gradient = Tensor::empty(result.shape(), like);
    dispatch::run<kernels::LogSoftmaxKernels>("backward", like, description, [&](const auto& kernels) {
      compute(kernels.backward, rows, classes, result, call.grad_output, gradient);
    });
    return {gradient};
  };
  return record("log_softmax", output, {x}, rule);
} catch (const std::bad_alloc&) {
  no_memory("log_softmax");
}

}  // namespace kg
