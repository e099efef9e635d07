#include "kernels/nll_loss.h"

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

namespace {

/// The labels as int64 on the device of the log-probabilities, checked.
Tensor checked_labels(const Tensor& log_probabilities, const Tensor& labels) {
  const check::Argument x{"nll_loss", "log_probabilities", log_probabilities},
      y{"nll_loss", "labels", labels};
  check::is_floating(x);
  check::has_rank(x, 2, "[n, classes]");
  if (log_probabilities.size(0) < 1) throw Error(x.described() + ", expected at least one row");
  if (!labels.defined() || is_floating_point(labels.dtype()))
    throw Error(y.described() + ", expected integers");
  check::has_shape(y, {log_probabilities.size(0)}, "[n]");
  if (labels.device() != log_probabilities.device())
    throw Error(y.described() + ", expected " + log_probabilities.device().name() + " as log_probabilities");
  const Tensor result = labels.to(DType::int64);
  if (!result.device().is_cpu()) return result;
  const std::int64_t classes = log_probabilities.size(1);
  for (const std::int64_t label : result.span<std::int64_t>())
    if (label < 0 || label >= classes)
      check::fail("nll_loss",
                  "label " + std::to_string(label) + ", expected 0 to " + std::to_string(classes - 1));
  return result;
}

}  // namespace

Tensor nll_loss(const Tensor& log_probabilities, const Tensor& labels, Reduction reduction) {
  const Tensor targets = checked_labels(log_probabilities, labels);
  const std::int64_t rows = log_probabilities.size(0), classes = log_probabilities.size(1);
  const double scale = reduction == Reduction::mean ? 1.0 / static_cast<double>(rows) : 1.0;
  const TensorOptions like = {.dtype = log_probabilities.dtype(), .device = log_probabilities.device()};
  Tensor loss = Tensor::empty({}, like);
  visit_floating(log_probabilities, "nll_loss", [&]<class T>(Type<T>) {
    KG_KERNELS(nll_loss, T, like.device)
        .forward(rows, classes, scale, raw<T>(log_probabilities), raw<std::int64_t>(targets), raw<T>(loss),
                 {});
  });
  const auto rule = [=](const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = Tensor::empty({rows, classes}, like);
    visit_floating(gradient, "nll_loss", [&]<class T>(Type<T>) {
      KG_KERNELS(nll_loss, T, like.device)
          .backward(rows, classes, scale, raw<T>(call.grad_output), raw<std::int64_t>(targets),
                    raw<T>(gradient), {});
    });
    return {gradient};
  };
  return record("nll_loss", loss, {log_probabilities}, rule);
}

}  // namespace kg
