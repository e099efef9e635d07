#include "kernels/max_pool2d.h"

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "kernelgrad/autograd.h"
#include "ops/pool2d.h"

namespace kg {

Tensor max_pool2d(const Tensor& x, Pair kernel, const PoolOptions& options) {
  const kernels::Pool2dProblem problem = pool2d_problem("max_pool2d", x, kernel, options);
  const TensorOptions like = {.dtype = x.dtype(), .device = x.device()};
  const Shape output_shape = {x.size(0), x.size(1), problem.out_h(), problem.out_w()};
  Tensor output = Tensor::empty(output_shape, like);
  Tensor argmax = Tensor::empty(output_shape, {.dtype = DType::int32, .device = like.device});
  visit_floating(x, "max_pool2d", [&]<class T>(Type<T>) {
    KG_KERNELS(max_pool2d, T, like.device)
        .forward(problem, raw<T>(x), raw<T>(output), raw<std::int32_t>(argmax), {});
  });
  const auto rule = [=, input_shape = x.shape()](const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = Tensor::empty(input_shape, like);
    visit_floating(gradient, "max_pool2d", [&]<class T>(Type<T>) {
      KG_KERNELS(max_pool2d, T, like.device)
          .backward(problem, raw<T>(call.grad_output), raw<std::int32_t>(argmax), raw<T>(gradient), {});
    });
    return {gradient};
  };
  return record("max_pool2d", output, {x}, rule);
}

}  // namespace kg
