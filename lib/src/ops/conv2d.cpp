// SPDX-License-Identifier: MIT
#include "kernels/conv2d.h"

#include <algorithm>

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"
#include "ops/reduce.h"
#include "ops/weighted_rule.h"

namespace kg {

namespace {

std::string to_string(Pair pair) { return kg::to_string(Shape{pair.h, pair.w}); }

/// The input elements between the first and the last that the kernel's first tap can read along an axis, less
/// than 0 if the kernel does not fit.
std::int64_t reach(std::int64_t extent, std::int64_t padding, std::int64_t dilation, std::int64_t kernel) {
  const std::int64_t last = extent + 2 * padding - 1;
  return kernel - 1 <= last / dilation ? last - dilation * (kernel - 1) : -1;
}

kernels::Conv2dProblem checked_problem(const Tensor& input, const Tensor& weight, const Tensor& bias,
                                       const Conv2dOptions& options) {
  const check::Argument x{"conv2d", "input", input}, w{"conv2d", "weight", weight}, b{"conv2d", "bias", bias};
  check::is_floating(x);
  check::matches(w, x);
  check::has_rank(x, 4, "[n, c_in, h, w]");
  check::has_images(x);
  check::has_rank(w, 4, "[c_out, c_in / groups, k_h, k_w]");
  const auto [stride, padding, dilation, groups, has_bias] = options;
  check::options("conv2d", options);
  const std::int64_t reach_h = reach(input.size(2), padding.h, dilation.h, weight.size(2)),
                     reach_w = reach(input.size(3), padding.w, dilation.w, weight.size(3));
  const kernels::Conv2dProblem problem{.n = input.size(0),
                                       .c_in = input.size(1),
                                       .h = input.size(2),
                                       .w = input.size(3),
                                       .c_out = weight.size(0),
                                       .k_h = weight.size(2),
                                       .k_w = weight.size(3),
                                       // All larger strides give the same one output.
                                       .stride_h = std::min(stride.h, std::max<std::int64_t>(reach_h, 0) + 1),
                                       .stride_w = std::min(stride.w, std::max<std::int64_t>(reach_w, 0) + 1),
                                       .padding_h = padding.h,
                                       .padding_w = padding.w,
                                       .dilation_h = dilation.h,
                                       .dilation_w = dilation.w,
                                       .groups = groups};
  if (problem.c_in % groups != 0 || problem.c_out % groups != 0)
    check::fail("conv2d", "groups = " + std::to_string(groups) + " does not divide " +
                              std::to_string(problem.c_in) + " input and " + std::to_string(problem.c_out) +
                              " output channels");
  if (const std::int64_t expected = checked_numel("conv2d", {weight.size(1), groups});
      expected != problem.c_in)
    check::fail("conv2d", "input " + kg::to_string(input.shape()) + " has " + std::to_string(problem.c_in) +
                              " channels, weight " + kg::to_string(weight.shape()) + " with groups = " +
                              std::to_string(groups) + " expects " + std::to_string(expected));
  if (problem.k_h < 1 || problem.k_w < 1 || reach_h < 0 || reach_w < 0)
    check::fail("conv2d", "the kernel of weight " + kg::to_string(weight.shape()) + " with dilation " +
                              to_string(dilation) + " does not fit into input " +
                              kg::to_string(input.shape()) + " with padding " + to_string(padding));
  if (input.numel() > 0) check::padded_size("conv2d", problem);
  if (bias.defined()) {
    check::matches(b, x);
    check::has_shape(b, {problem.c_out}, "[c_out]");
  }
  return problem;
}

/// A convolution of a batch without images or channels, or to no channels: the bias alone. Extents of such
/// tensors may be larger than kernels can multiply.
Tensor without_products(const Tensor& input, const Tensor& weight, const Tensor& bias, const Shape& output) {
  const TensorOptions like = input.options();
  const auto rule = [like, input_shape = input.shape(), weight_shape = weight.shape(),
                     with_bias = bias.defined()](const BackwardCall& call) -> std::vector<Tensor> {
    const Tensor of_bias =
        with_bias
            ? share_storage(reduce_sum(call.grad_output, {false, true, false, false}, 1), {weight_shape[0]})
            : Tensor();
    return {Tensor::zeros(input_shape, like), Tensor::zeros(weight_shape, like), of_bias};
  };
  const Tensor values = bias.defined() ? expand(share_storage(bias, {output[1], 1, 1}), output, 1)
                                       : Tensor::zeros(output, like);
  return record("conv2d", values, {input, weight, bias}, rule);
}

}  // namespace

Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias,
              const Conv2dOptions& options) try {
  const kernels::Conv2dProblem problem = checked_problem(input, weight, bias, options);
  const TensorOptions like = input.options();
  Tensor output = unwritten({problem.n, problem.c_out, problem.out_h(), problem.out_w()}, like);
  if (input.numel() == 0 || output.numel() == 0) return without_products(input, weight, bias, output.shape());
  dispatch::run<kernels::Conv2dKernels>(
      "forward", like, problem.description().note(", bias", bias.defined()),
      [&](const auto& kernels) { compute(kernels.forward, problem, input, weight, bias, output); });
  return record("conv2d", output, {input, weight, bias},
                weighted_rule<kernels::Conv2dKernels>(problem, input, weight, bias));
} catch (const std::bad_alloc&) {
  no_memory("conv2d");
}

}  // namespace kg
