#include "kernels/max_pool2d.h"

#include <limits>

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "kernelgrad/autograd.h"
#include "ops/pool2d.h"

namespace kg {

namespace {

/// What forward leaves for backward.
template <class T>
struct Forward {
  Tensor output, argmax;
  const kernels::MaxPool2dKernels<T>* kernels;
};

template <class T>
Forward<T> run_forward(const kernels::Pool2dProblem& problem, const Tensor& x) {
  const TensorOptions like = {.dtype = x.dtype(), .device = x.device()};
  const Shape output_shape = {x.size(0), x.size(1), problem.out_h(), problem.out_w()};
  Forward<T> result{Tensor::empty(output_shape, like), {}, nullptr};
  const auto forward = [&](const kernels::MaxPool2dKernels<T>& kernels) {
    result.argmax = kernels.uses_argmax
                        ? Tensor::empty(output_shape, {.dtype = DType::int32, .device = like.device})
                        : Tensor();
    kernels.forward(problem, raw<T>(x), raw<T>(result.output), raw<std::int32_t>(result.argmax), {});
  };
  // The output stands in for a gradient of its shape.
  const auto rehearse = [&](const kernels::MaxPool2dKernels<T>& kernels) {
    forward(kernels);
    const Tensor grad_input = Tensor::empty(x.shape(), like);
    kernels.backward(problem, raw<T>(x), raw<T>(result.output), raw<T>(result.output),
                     raw<std::int32_t>(result.argmax), raw<T>(grad_input), {});
  };
  if (x.device().is_cuda()) {
    result.kernels = &backend::max_pool2d<T>(problem, forward, rehearse);
  } else {
    result.kernels = &kernels::cpu::max_pool2d<T>();
    forward(*result.kernels);
  }
  return result;
}

template <class T>
Tensor recorded(const kernels::Pool2dProblem& problem, const Tensor& x) {
  const Forward<T> forward = run_forward<T>(problem, x);
  const kernels::MaxPool2dKernels<T>& kernels = *forward.kernels;
  const SavedTensor input(kernels.uses_argmax ? Tensor() : x, "input");
  const SavedTensor output(kernels.uses_argmax ? Tensor() : forward.output, "output");
  const auto rule = [=, argmax = forward.argmax, &kernels, input_shape = x.shape(),
                     like = TensorOptions{.dtype = x.dtype(), .device = x.device()}](
                        const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = Tensor::empty(input_shape, like);
    kernels.backward(problem, raw<T>(input.unpack(call)), raw<T>(output.unpack(call)),
                     raw<T>(call.grad_output), raw<std::int32_t>(argmax), raw<T>(gradient), {});
    return {gradient};
  };
  return record("max_pool2d", forward.output, {x}, rule);
}

}  // namespace

Tensor max_pool2d(const Tensor& x, Pair kernel, const PoolOptions& options) try {
  const kernels::Pool2dProblem problem = pool2d_problem("max_pool2d", x, kernel, options);
  if (problem.h > std::numeric_limits<std::int32_t>::max() / problem.w)
    throw Error(check::Argument{"max_pool2d", "input", x}.described() +
                ", expected fewer than 2^31 pixels an image");
  return visit_floating(x, "max_pool2d", [&]<class T>(Type<T>) { return recorded<T>(problem, x); });
} catch (const std::bad_alloc&) {
  no_memory("max_pool2d");
}

}  // namespace kg
