// SPDX-License-Identifier: MIT
#include "kernels/max_pool2d.h"

#include <limits>

#include "core/tensor_impl.h"
#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "ops/pool2d.h"

namespace kg {

namespace {

using dispatch::Implementation;

/// What an implementation's forward leaves for its backward: where the winners were, or else input and
/// output.
struct Saved {
  bool by_argmax;
  Tensor argmax;
};

/// By whom the problem is computed, forward and backward: what backward goes by depends on who ran forward.
Implementation run_forward(const kernels::Pool2dProblem& problem, const Tensor& x, const Tensor& output,
                           Saved& saved) {
  const auto forward = [&]<class T>(const kernels::MaxPool2dKernels<T>& kernels) {
    saved.by_argmax = kernels.uses_argmax;
    saved.argmax = saved.by_argmax
                       ? Tensor::empty(output.shape(), {.dtype = DType::int32, .device = x.device()})
                       : Tensor();
    kernels.forward(problem, raw<T>(x), raw<T>(output), raw<std::int32_t>(saved.argmax));
  };
  // The output stands in for a gradient of its shape.
  const auto rehearse = [&]<class T>(const kernels::MaxPool2dKernels<T>& kernels) {
    forward(kernels);
    const Tensor grad_input = Tensor::empty(x.shape(), x.options());
    kernels.backward(problem, raw<T>(x), raw<T>(output), raw<T>(output), raw<std::int32_t>(saved.argmax),
                     raw<T>(grad_input));
  };
  return dispatch::run<kernels::MaxPool2dKernels>("forward and backward", x.options(), problem.description(),
                                                  forward, rehearse);
}

}  // namespace

Tensor max_pool2d(const Tensor& x, Pair kernel, const PoolOptions& options) try {
  const kernels::Pool2dProblem problem = pool2d_problem("max_pool2d", x, kernel, options);
  if (problem.h > std::numeric_limits<std::int32_t>::max() / problem.w)
    throw Error(check::Argument{"max_pool2d", "input", x}.described() +
                ", expected fewer than 2^31 pixels an image");
  Tensor output = Tensor::empty({x.size(0), x.size(1), problem.out_h(), problem.out_w()}, x.options());
  Saved saved;
  const Implementation implementation = run_forward(problem, x, output, saved);
  const SavedTensor input(saved.by_argmax ? Tensor() : x, "input");
  const SavedTensor result(saved.by_argmax ? Tensor() : output, "output");
  const auto rule = [=, argmax = saved.argmax, input_shape = x.shape(),
                     like = x.options()](const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = Tensor::empty(input_shape, like);
    const Tensor before = input.unpack(call), after = result.unpack(call);
    dispatch::with_table<kernels::MaxPool2dKernels>(
        implementation, like.dtype, [&]<class T>(const kernels::MaxPool2dKernels<T>& kernels) {
          kernels.backward(problem, raw<T>(before), raw<T>(after), raw<T>(call.grad_output),
                           raw<std::int32_t>(argmax), raw<T>(gradient));
        });
    return {gradient};
  };
  return record("max_pool2d", output, {x}, rule);
} catch (const std::bad_alloc&) {
  no_memory("max_pool2d");
}

}  // namespace kg
