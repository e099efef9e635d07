#include "kernels/cross_entropy.h"

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/labels.h"

namespace kg {

Tensor cross_entropy(const Tensor& logits, const Tensor& labels, Reduction reduction) try {
  const Tensor targets = checked_labels("cross_entropy", "logits", logits, labels);
  const std::int64_t rows = logits.size(0), classes = logits.size(1);
  const double scale = reduction == Reduction::mean ? 1.0 / static_cast<double>(rows) : 1.0;
  const TensorOptions like = {.dtype = logits.dtype(), .device = logits.device()};
  Tensor loss = Tensor::empty({}, like);
  visit_floating(logits, "cross_entropy", [&]<class T>(Type<T>) {
    KG_KERNELS(cross_entropy, T, like.device)
        .forward(rows, classes, scale, raw<T>(logits), raw<std::int64_t>(targets), raw<T>(loss), {});
  });
  const auto rule = [=, saved_logits = SavedTensor(logits, "logits"),
                     saved_labels =
                         SavedTensor(targets, "labels")](const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = Tensor::empty({rows, classes}, like);
    visit_floating(gradient, "cross_entropy", [&]<class T>(Type<T>) {
      KG_KERNELS(cross_entropy, T, like.device)
          .backward(rows, classes, scale, raw<T>(call.grad_output), raw<T>(saved_logits.unpack(call)),
                    raw<std::int64_t>(saved_labels.unpack(call)), raw<T>(gradient), {});
    });
    return {gradient};
  };
  return record("cross_entropy", loss, {logits}, rule);
} catch (const std::bad_alloc&) {
  no_memory("cross_entropy");
}

}  // namespace kg
