#include "kernels/relu.h"

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

Tensor relu(const Tensor& x) try {
  check::is_floating({"relu", "input", x});
  const TensorOptions like = {.dtype = x.dtype(), .device = x.device()};
  Tensor output = Tensor::empty(x.shape(), like);
  visit_floating(x, "relu", [&]<class T>(Type<T>) {
    KG_KERNELS(relu, T, like.device).forward(x.numel(), raw<T>(x), raw<T>(output), {});
  });
  const auto rule = [like,
                     saved = SavedTensor(output, "output")](const BackwardCall& call) -> std::vector<Tensor> {
    const Tensor result = saved.unpack(call);
    Tensor gradient = Tensor::empty(result.shape(), like);
    visit_floating(result, "relu", [&]<class T>(Type<T>) {
      KG_KERNELS(relu, T, like.device)
          .backward(result.numel(), raw<T>(result), raw<T>(call.grad_output), raw<T>(gradient), {});
    });
    return {gradient};
  };
  return record("relu", output, {x}, rule);
} catch (const std::bad_alloc&) {
  no_memory("relu");
}

}  // namespace kg
