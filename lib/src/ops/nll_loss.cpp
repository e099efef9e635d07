// SPDX-License-Identifier: MIT
#include "kernels/nll_loss.h"

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

Tensor nll_loss(const Tensor& log_probabilities, const Tensor& labels, Reduction reduction) try {
  const Tensor targets = check::labels("nll_loss", "log_probabilities", log_probabilities, labels);
  const std::int64_t rows = log_probabilities.size(0), classes = log_probabilities.size(1);
  const double scale = reduction == Reduction::mean ? 1.0 / static_cast<double>(rows) : 1.0;
  const TensorOptions like = log_probabilities.options();
  Tensor loss = Tensor::empty({}, like);
  const Description description = Description().extents("", {rows}).extents(" rows of ", {classes});
  dispatch::run<kernels::NllLossKernels>("forward", like, description, [&](const auto& kernels) {
    compute(kernels.forward, rows, classes, scale, log_probabilities, targets, loss);
  });
  const SavedTensor saved_labels(targets, "labels");
  const auto rule = [=](const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = Tensor::empty({rows, classes}, like);
    const Tensor y = saved_labels.unpack(call);
    dispatch::run<kernels::NllLossKernels>("backward", like, description, [&](const auto& kernels) {
      compute(kernels.backward, rows, classes, scale, call.grad_output, y, gradient);
    });
    return {gradient};
  };
  return record("nll_loss", loss, {log_probabilities}, rule);
} catch (const std::bad_alloc&) {
  no_memory("nll_loss");
}

}  // namespace kg
