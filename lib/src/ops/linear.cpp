// SPDX-License-Identifier: MIT
#include "kernels/linear.h"

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"
#include "ops/weighted_rule.h"

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
  dispatch::run<kernels::LinearKernels>(
      "forward", like, problem.description().note(", bias", bias.defined()),
      [&](const auto& kernels) { compute(kernels.forward, problem, input, weight, bias, output); });
  return record("linear", output, {input, weight, bias},
                weighted_rule<kernels::LinearKernels>(problem, input, weight, bias));
} catch (const std::bad_alloc&) {
  no_memory("linear");
}

}  // namespace kg
