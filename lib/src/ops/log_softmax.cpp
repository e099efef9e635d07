#include "kernels/log_softmax.h"

#include "core/dispatch.h"
#include "core/tensor_impl.h"
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
  const TensorOptions like = {.dtype = x.dtype(), .device = x.device()};
  Tensor output = Tensor::empty(x.shape(), like);
  visit_floating(x, "log_softmax", [&]<class T>(Type<T>) {
    KG_CHOSEN_KERNELS(log_softmax, T, like.device).forward(rows, classes, raw<T>(x), raw<T>(output), {});
  });
  const auto rule = [=,
                     saved = SavedTensor(output, "output")](const BackwardCall& call) -> std::vector<Tensor> {
    const Tensor result = saved.unpack(call);
    Tensor gradient = Tensor::empty(result.shape(), like);
    visit_floating(result, "log_softmax", [&]<class T>(Type<T>) {
      KG_CHOSEN_KERNELS(log_softmax, T, like.device)
          .backward(rows, classes, raw<T>(result), raw<T>(call.grad_output), raw<T>(gradient), {});
    });
    return {gradient};
  };
  return record("log_softmax", output, {x}, rule);
} catch (const std::bad_alloc&) {
  no_memory("log_softmax");
}

}  // namespace kg
