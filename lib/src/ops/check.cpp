// SPDX-License-Identifier: MIT
#include "ops/check.h"

#include <array>
#include <charconv>
#include <cmath>

#include "core/tensor_impl.h"

namespace kg::check {

std::string Argument::described() const {
  return std::string(op) + ": " + std::string(name) + " is " +
         (tensor.defined() ? kg::described(tensor) : "undefined");
}

void is_defined(const Argument& argument) {
  if (!argument.tensor.defined()) throw Error(argument.described() + ", expected a tensor");
}

void is_floating(const Argument& argument) {
  if (!argument.tensor.defined() || !is_floating_point(argument.tensor.dtype()))
    throw Error(argument.described() + ", expected float32 or float64");
}

void matches(const Argument& argument, const Argument& first) {
  is_floating(argument);
  if (argument.tensor.dtype() != first.tensor.dtype() || argument.tensor.device() != first.tensor.device())
    throw Error(argument.described() + ", expected " + std::string(name_of(first.tensor.dtype())) + " on " +
                first.tensor.device().name() + " as " + std::string(first.name));
}

void has_rank(const Argument& argument, int rank, std::string_view meaning) {
  if (!argument.tensor.defined() || argument.tensor.dim() != rank)
    throw Error(argument.described() + ", expected " + std::to_string(rank) + " dimensions " +
                std::string(meaning));
}

void has_shape(const Argument& argument, const Shape& expected, std::string_view meaning) {
  if (!argument.tensor.defined() || argument.tensor.shape() != expected)
    throw Error(argument.described() + ", expected shape " + to_string(expected) + " " +
                std::string(meaning));
}

void has_images(const Argument& argument) {
  for (const int d : {2, 3})
    if (argument.tensor.size(d) < 1 || argument.tensor.size(d) > std::int64_t{1} << 60)
      throw Error(argument.described() +
                  ", expected images with at least one pixel and at most 2^60 rows and columns");
}

void is_sensible(std::string_view op, std::string_view option, std::int64_t value, std::int64_t smallest) {
  constexpr std::int64_t largest = std::int64_t{1} << 30;
  if (value < smallest || value > largest)
    fail(op, std::string(option) + " = " + std::to_string(value) + ", expected " + std::to_string(smallest) +
                 " to " + std::to_string(largest));
}

void both_sensible(std::string_view op, std::string_view option, Pair value, std::int64_t smallest) {
  is_sensible(op, option, value.h, smallest);
  is_sensible(op, option, value.w, smallest);
}

namespace {

/// As few digits as say which number it is: std::to_string would make 0 of a small one.
std::string text_of(double value) {
  std::array<char, 32> digits;
  return {digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr};
}

}  // namespace

void is_probability(std::string_view op, std::string_view option, double value) {
  if (!(value >= 0 && value <= 1))
    fail(op, std::string(option) + " = " + text_of(value) + ", expected a probability from 0 to 1");
}

void options(std::string_view op, const Conv2dOptions& options) {
  both_sensible(op, "stride", options.stride, 1);
  both_sensible(op, "padding", options.padding, 0);
  both_sensible(op, "dilation", options.dilation, 1);
  is_sensible(op, "groups", options.groups, 1);
}

void options(std::string_view op, const BatchNormOptions& options) {
  if (!(options.momentum >= 0 && options.momentum <= 1))
    fail(op, "momentum = " + text_of(options.momentum) + ", expected 0 to 1");
  if (!(options.epsilon >= 0 && std::isfinite(options.epsilon)))
    fail(op, "epsilon = " + text_of(options.epsilon) + ", expected a number from 0 on");
  is_probability(op, "dropout", options.dropout);
}

void options(std::string_view op, Pair kernel, const PoolOptions& options) {
  both_sensible(op, "kernel", kernel, 1);
  both_sensible(op, "stride", options.stride, 0);
  const Pair padding = options.padding;
  if (padding.h < 0 || padding.w < 0 || padding.h > kernel.h / 2 || padding.w > kernel.w / 2)
    fail(op, "padding " + to_string(Shape{padding.h, padding.w}) +
                 ", expected between 0 and half the kernel " + to_string(Shape{kernel.h, kernel.w}));
}

Tensor labels(std::string_view op, std::string_view name, const Tensor& scores, const Tensor& labels) {
  const Argument x{op, name, scores}, y{op, "labels", labels};
  is_floating(x);
  has_rank(x, 2, "[n, classes]");
  if (scores.size(0) < 1) throw Error(x.described() + ", expected at least one row");
  if (!labels.defined() || is_floating_point(labels.dtype()))
    throw Error(y.described() + ", expected integers");
  has_shape(y, {scores.size(0)}, "[n]");
  if (labels.device() != scores.device())
    throw Error(y.described() + ", expected " + scores.device().name() + " as " + std::string(name));
  const Tensor result = labels.to(DType::int64);
  if (!result.device().is_cpu()) return result;
  const std::int64_t classes = scores.size(1);
  for (const std::int64_t label : result.span<std::int64_t>())
    if (label < 0 || label >= classes)
      fail(op, "label " + std::to_string(label) + ", expected 0 to " + std::to_string(classes - 1));
  return result;
}

kernels::Pool2dProblem pooling(std::string_view op, const Tensor& input, Pair kernel,
                               const PoolOptions& options) {
  const Argument x{op, "input", input};
  is_floating(x);
  has_rank(x, 4, "[n, c, h, w]");
  const auto [stride, padding] = std::pair(options.stride, options.padding);
  check::options(op, kernel, options);
  has_images(x);
  if (input.size(2) + 2 * padding.h < kernel.h || input.size(3) + 2 * padding.w < kernel.w)
    throw Error(x.described() + ", too small for a kernel of " + to_string(Shape{kernel.h, kernel.w}) +
                " with padding " + to_string(Shape{padding.h, padding.w}));
  return {.planes = checked_numel(op, {input.size(0), input.size(1)}),
          .h = input.size(2),
          .w = input.size(3),
          .k_h = kernel.h,
          .k_w = kernel.w,
          .stride_h = stride.h ? stride.h : kernel.h,
          .stride_w = stride.w ? stride.w : kernel.w,
          .padding_h = padding.h,
          .padding_w = padding.w};
}

void padded_size(std::string_view op, const kernels::Conv2dProblem& p) {
  const double rows = static_cast<double>(p.h + 2 * p.padding_h + p.stride_h),
               columns = static_cast<double>(p.w + 2 * p.padding_w + p.stride_w);
  if (static_cast<double>(p.c_in) * rows * columns > 0x1p45)
    fail(op, "an input image of [" + std::to_string(p.c_in) + ", " + std::to_string(p.h) + ", " +
                 std::to_string(p.w) + "] with padding " + to_string(Shape{p.padding_h, p.padding_w}) +
                 " has more elements than memory can hold");
}

void fail(std::string_view op, const std::string& what) { throw Error(std::string(op) + ": " + what); }

}  // namespace kg::check
