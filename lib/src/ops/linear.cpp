// SPDX-License-Identifier: MIT
#include "kernels/linear.h"

#include "core/tensor_impl.h"
#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

namespace {

void check_arguments(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  const check::Argument x{"linear", "input", input}, w{"linear", "weight", weight}, b{"linear", "bias", bias};
  check::is_floating(x);
  check::matches(w, x);
  check::has_rank(w, 2, "[out_features, in_features]");
  if (input.dim() < 1 || input.size(-1) != weight.size(1))
    throw Error(x.described() + ", expected [..., " + std::to_string(weight.size(1)) + "] to fit weight " +
                to_string(weight.shape()));
  if (!bias.defined()) return;
  check::matches(b, x);
  check::has_shape(b, {weight.size(0)}, "[out_features]");
}

}  // namespace

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) try {
  check_arguments(input, weight, bias);
  Shape output_shape = input.shape();
  output_shape.back() = weight.size(0);
  const std::int64_t rows = checked_numel("linear", Shape(output_shape.begin(), output_shape.end() - 1));
  const kernels::LinearProblem problem{
      .rows = rows, .in_features = weight.size(1), .out_features = weight.size(0)};
  const TensorOptions like = input.options();
  Tensor output = Tensor::empty(output_shape, like);
  dispatch::run<kernels::LinearKernels>("forward", like, problem.description().note(", bias", bias.defined()),
                                        [&]<class T>(const kernels::LinearKernels<T>& kernels) {
                                          kernels.forward(problem, raw<T>(input), raw<T>(weight),
                                                          raw<T>(bias), raw<T>(output));
                                        });
  const bool with_bias = bias.defined();
  const SavedTensor saved_input(weight.requires_grad() ? input : Tensor(), "input");
  const SavedTensor saved_weight(input.requires_grad() ? weight : Tensor(), "weight");
  const auto rule = [=, input_shape = input.shape()](const BackwardCall& call) {
    std::vector<Tensor> gradients(3);
    const auto run = [&](std::string_view function, const auto& body) {
      dispatch::run<kernels::LinearKernels>(function, like, problem.description(), body);
    };
    if (call.needs[0]) {
      gradients[0] = Tensor::empty(input_shape, like);
      const Tensor w = saved_weight.unpack(call);
      run("backward_input", [&]<class T>(const kernels::LinearKernels<T>& kernels) {
        kernels.backward_input(problem, raw<T>(call.grad_output), raw<T>(w), raw<T>(gradients[0]));
      });
    }
    if (call.needs[1]) {
      gradients[1] = Tensor::empty({problem.out_features, problem.in_features}, like);
      const Tensor x = saved_input.unpack(call);
      run("backward_weight", [&]<class T>(const kernels::LinearKernels<T>& kernels) {
        kernels.backward_weight(problem, raw<T>(x), raw<T>(call.grad_output), raw<T>(gradients[1]));
      });
    }
    if (with_bias && call.needs[2]) {
      gradients[2] = Tensor::empty({problem.out_features}, like);
      run("backward_bias", [&]<class T>(const kernels::LinearKernels<T>& kernels) {
        kernels.backward_bias(problem, raw<T>(call.grad_output), raw<T>(gradients[2]));
      });
    }
    return gradients;
  };
  return record("linear", output, {input, weight, bias}, rule);
} catch (const std::bad_alloc&) {
  no_memory("linear");
}

}  // namespace kg
