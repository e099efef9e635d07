// SPDX-License-Identifier: MIT
#include "kernels/cross_entropy.h"

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, Reduction reduction) try {
  const Tensor targets = check::labels("cross_entropy", "logits", logits, labels);
  const std::int64_t rows = logits.size(0), classes = logits.size(1);
  const double scale = reduction == Reduction::mean ? 1.0 / static_cast<double>(rows) : 1.0;
  const TensorOptions like = logits.options();
  Tensor loss = Tensor::empty({}, like);
  const Description description = Description().extents("", {rows}).extents(" rows of ", {classes});
  dispatch::run<kernels::CrossEntropyKernels>("forward", like, description, [&](const auto& kernels) {
    compute(kernels.forward, rows, classes, scale, logits, targets, loss);
  });
  const SavedTensor saved_logits(logits, "logits"), saved_labels(targets, "labels");
  const auto rule = [=](const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = Tensor::empty({rows, classes}, like);
    const Tensor x = saved_logits.unpack(call), y = saved_labels.unpack(call);
    dispatch::run<kernels::CrossEntropyKernels>("backward", like, description, [&](const auto& kernels) {
      compute(kernels.backward, rows, classes, scale, call.grad_output, x, y, gradient);
    });
    return {gradient};
  };
  return record("cross_entropy", loss, {logits}, rule);
} catch (const std::bad_alloc&) {
  no_memory("cross_entropy");
}

}  // namespace kg
