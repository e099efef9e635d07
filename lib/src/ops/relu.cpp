#include "kernels/relu.h"

#include "core/tensor_impl.h"
#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

Tensor relu(const Tensor& x) try {
  check::is_floating({"relu", "input", x});
  const TensorOptions like = x.options();
  Tensor output = Tensor::empty(x.shape(), like);
  const Description description = Description().extents("", {x.numel()});
  dispatch::run<kernels::ReluKernels>("forward", like, description,
                                      [&]<class T>(const kernels::ReluKernels<T>& kernels) {
                                        kernels.forward(x.numel(), raw<T>(x), raw<T>(output));
                                      });
  const auto rule = [=,
                     saved = SavedTensor(output, "output")](const BackwardCall& call) -> std::vector<Tensor> {
    const Tensor result = saved.unpack(call);
    Tensor gradient = Tensor::empty(result.shape(), like);
    dispatch::run<kernels::ReluKernels>(
        "backward", like, description, [&]<class T>(const kernels::ReluKernels<T>& kernels) {
          kernels.backward(result.numel(), raw<T>(result), raw<T>(call.grad_output), raw<T>(gradient));
        });
    return {gradient};
  };
  return record("relu", output, {x}, rule);
} catch (const std::bad_alloc&) {
  no_memory("relu");
}

}  // namespace kg
