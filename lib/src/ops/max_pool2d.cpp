// SPDX-License-Identifier: MIT
#include "kernels/max_pool2d.h"

#include <limits>

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "ops/check.h"

namespace kg {

namespace {

/// By whom the problem is computed, forward and backward: what backward goes by depends on who ran forward.
/// Sets `argmax` if it is where the winners were, and leaves it undefined if it is input and output.
Backend run_forward(const kernels::Pool2dProblem& problem, const Tensor& input, const Tensor& output,
                    Tensor& argmax) {
  const auto forward = [&](const auto& kernels) {
    argmax = kernels.uses_argmax
                 ? unwritten(output.shape(), {.dtype = DType::int32, .device = input.device()})
                 : Tensor();
    compute(kernels.forward, problem, input, output, argmax);
  };
  // The output stands in for a gradient of its shape.
  const auto rehearse = [&](const auto& kernels) {
    forward(kernels);
    const Tensor grad_input = Tensor::empty(input.shape(), input.options());
    compute(kernels.backward, problem, input, output, output, argmax, grad_input);
  };
  return dispatch::run<kernels::MaxPool2dKernels>("forward and backward", input.options(),
                                                  problem.description(), forward, rehearse);
}

}  // namespace

Tensor max_pool2d(const Tensor& input, Pair kernel, const PoolOptions& options) try {
  const kernels::Pool2dProblem problem = check::pooling("max_pool2d", input, kernel, options);
  if (problem.h > std::numeric_limits<std::int32_t>::max() / problem.w)
    throw Error(check::Argument{"max_pool2d", "input", input}.described() +
                ", expected fewer than 2^31 pixels an image");
  Tensor output =
      unwritten({input.size(0), input.size(1), problem.out_h(), problem.out_w()}, input.options());
  Tensor argmax;
  const Backend backend = run_forward(problem, input, output, argmax);
  const SavedTensor saved_input(argmax.defined() ? Tensor() : input, "input");
  const SavedTensor saved_output(argmax.defined() ? Tensor() : output, "output");
  const auto rule = [=, input_shape = input.shape(),
                     like = input.options()](const BackwardCall& call) -> std::vector<Tensor> {
    Tensor gradient = unwritten(input_shape, like);
    const Tensor was_input = saved_input.unpack(call), was_output = saved_output.unpack(call);
    dispatch::with_table<kernels::MaxPool2dKernels>(backend, like, [&](const auto& kernels) {
      compute(kernels.backward, problem, was_input, was_output, call.grad_output, argmax, gradient);
    });
    return {gradient};
  };
  return record("max_pool2d", output, {input}, rule);
} catch (const std::bad_alloc&) {
  no_memory("max_pool2d");
}

}  // namespace kg
