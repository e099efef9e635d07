// SPDX-License-Identifier: MIT
#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "kernels/conv2d.h"
#include "ops/check.h"

namespace kg {

namespace {

using kernels::Conv2dKernels;
using kernels::Conv2dProblem;

constexpr std::string_view op = "conv_transpose2d";

/// Input elements along an axis of the convolution that gives `out` elements; up to 2^62, of sensible
/// options.
std::int64_t extent(std::int64_t out, std::int64_t stride, std::int64_t padding, std::int64_t output_padding,
                    std::int64_t dilation, std::int64_t kernel) {
  return checked_numel(op, {out - 1, stride}) - 2 * padding + checked_numel(op, {dilation, kernel - 1}) +
         output_padding + 1;
}

void check_arguments(const Tensor& input, const Tensor& weight, const Tensor& bias,
                     const ConvTranspose2dOptions& options) {
  const check::Argument x{op, "input", input}, w{op, "weight", weight}, b{op, "bias", bias};
  check::is_floating(x);
  check::matches(w, x);
  check::has_rank(x, 4, "[n, c_in, h, w]");
  check::has_images(x);
  check::has_rank(w, 4, "[c_in, c_out / groups, k_h, k_w]");
  check::options(op, Conv2dOptions{options.stride, options.padding, options.dilation, options.groups});
  // From the stride on, the convolution would have more outputs than there are inputs here.
  const Pair more = options.output_padding;
  if (more.h < 0 || more.w < 0 || more.h >= options.stride.h || more.w >= options.stride.w)
    check::fail(op, "output_padding " + to_string(Shape{more.h, more.w}) +
                        ", expected from 0 to less than the stride " +
                        to_string(Shape{options.stride.h, options.stride.w}));
  if (weight.size(0) != input.size(1) || input.size(1) % options.groups != 0)
    check::fail(op, "input " + to_string(input.shape()) + " has " + std::to_string(input.size(1)) +
                        " channels, weight " + to_string(weight.shape()) + " expects " +
                        std::to_string(weight.size(0)) + " in " + std::to_string(options.groups) + " groups");
  if (weight.size(2) < 1 || weight.size(3) < 1)
    check::fail(op, "weight " + to_string(weight.shape()) + " has a kernel without elements");
  if (!bias.defined()) return;
  check::matches(b, x);
  check::has_shape(b, {checked_numel(op, {weight.size(1), options.groups})}, "[c_out]");
}

/// The stride of the convolution: where there is one output, all larger ones give the same.
std::int64_t stride_of(std::int64_t out, std::int64_t stride, std::int64_t output_padding) {
  return out == 1 ? output_padding + 1 : stride;
}

/// The convolution that leads from the output's shape to the input's. Its input gradient is what is computed.
Conv2dProblem problem_of(const Tensor& input, const Tensor& weight, const ConvTranspose2dOptions& options) {
  const auto [stride, padding, output_padding, dilation, groups] = options;
  const Conv2dProblem problem{
      .n = input.size(0),
      .c_in = checked_numel(op, {weight.size(1), groups}),
      .h = extent(input.size(2), stride.h, padding.h, output_padding.h, dilation.h, weight.size(2)),
      .w = extent(input.size(3), stride.w, padding.w, output_padding.w, dilation.w, weight.size(3)),
      .c_out = input.size(1),
      .k_h = weight.size(2),
      .k_w = weight.size(3),
      .stride_h = stride_of(input.size(2), stride.h, output_padding.h),
      .stride_w = stride_of(input.size(3), stride.w, output_padding.w),
      .padding_h = padding.h,
      .padding_w = padding.w,
      .dilation_h = dilation.h,
      .dilation_w = dilation.w,
      .groups = groups};
  if (problem.h < 1 || problem.w < 1)
    check::fail(op, "input " + to_string(input.shape()) + " and weight " + to_string(weight.shape()) +
                        " give an output of " + to_string(Shape{problem.h, problem.w}));
  return problem;
}

}  // namespace

Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options) try {
  check_arguments(input, weight, bias, options);
  const Conv2dProblem problem = problem_of(input, weight, options);
  const TensorOptions like = input.options();
  const Shape shape = {problem.n, problem.c_in, problem.h, problem.w};
  const bool has_products = checked_numel(op, shape) > 0 && input.numel() > 0;
  if (has_products) check::padded_size(op, problem);
  const auto run = [=](std::string_view function, const auto& body) {
    if (has_products) dispatch::run<Conv2dKernels>(function, like, problem.description(), body);
  };
  // Without products every result is 0.
  const auto result_of = [=](const Shape& wanted) {
    return has_products ? Tensor::empty(wanted, like) : Tensor::zeros(wanted, like);
  };
  const Tensor output = result_of(shape);
  run("backward_input",
      [&](const auto& kernels) { compute(kernels.backward_input, problem, input, weight, output); });
  const SavedTensor saved_input(weight.requires_grad() ? input : Tensor(), "input");
  const SavedTensor saved_weight(input.requires_grad() ? weight : Tensor(), "weight");
  const auto rule = [=, input_shape = input.shape(),
                     weight_shape = weight.shape()](const BackwardCall& call) {
    std::vector<Tensor> gradients(2);
    if (call.needs[0]) {
      gradients[0] = result_of(input_shape);
      const Tensor w = saved_weight.unpack(call);
      run("forward", [&](const auto& kernels) {
        compute(kernels.forward, problem, call.grad_output, w, nullptr, gradients[0]);
      });
    }
    if (call.needs[1]) {
      gradients[1] = result_of(weight_shape);
      const Tensor x = saved_input.unpack(call);
      run("backward_weight", [&](const auto& kernels) {
        compute(kernels.backward_weight, problem, call.grad_output, x, gradients[1]);
      });
    }
    return gradients;
  };
  const Tensor products = record(std::string(op), output, {input, weight}, rule);
  return bias.defined() ? products + reshape(bias, {problem.c_in, 1, 1}) : products;
} catch (const std::bad_alloc&) {
  no_memory(op);
}

}  // namespace kg
