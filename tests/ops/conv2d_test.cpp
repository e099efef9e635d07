// SPDX-License-Identifier: MIT
#include "cases/conv2d.h"

#include "reference/conv2d.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using kernels::Conv2dProblem;

constexpr double single_tolerance = 2e-6, double_tolerance = 1e-12;

Conv2dOptions options_of(const Conv2dProblem& p) {
  return {.stride = {p.stride_h, p.stride_w},
          .padding = {p.padding_h, p.padding_w},
          .dilation = {p.dilation_h, p.dilation_w},
          .groups = p.groups};
}

Function function_of(const Conv2dProblem& p) {
  return [p](const std::vector<Tensor>& t) { return conv2d(t[0], t[1], t[2], options_of(p)); };
}

/// Input, weight and bias.
std::vector<Tensor> inputs_of(const Conv2dProblem& p, DType dtype, Device device, bool with_bias = true) {
  return {random({p.n, p.c_in, p.h, p.w}, dtype, 1, device),
          random({p.c_out, p.c_in / p.groups, p.k_h, p.k_w}, dtype, 2, device),
          with_bias ? random({p.c_out}, dtype, 3, device) : Tensor()};
}

void check_values_and_gradients(const Conv2dProblem& p, DType dtype, Device device, bool with_bias) {
  const double tolerance = dtype == DType::float32 ? single_tolerance : double_tolerance;
  const std::vector<Tensor> inputs = inputs_of(p, dtype, device, with_bias);
  const std::vector<double> x = to_doubles(inputs[0]), w = to_doubles(inputs[1]),
                            b = with_bias ? to_doubles(inputs[2]) : std::vector<double>();
  const Run actual = run(function_of(p), requiring(inputs));
  INFO(name_of(dtype) << (with_bias ? ", bias" : ", no bias"));
  CHECK(difference(actual.output, reference::conv2d(p, x, w, b), tolerance) == "");

  const std::vector<double> gradient = to_doubles(random(actual.output.shape(), dtype, 99));
  const reference::Conv2dGradients expected = reference::conv2d_backward(p, x, w, gradient);
  CHECK(difference(actual.gradients[0], expected.input, tolerance) == "");
  CHECK(difference(actual.gradients[1], expected.weight, tolerance) == "");
  if (with_bias) CHECK(difference(actual.gradients[2], expected.bias, tolerance) == "");
}

TEST_CASE("conv2d and its gradients agree with their formulas", "[conv2d]") {
  const auto check = [](Device device, const Conv2dProblem& p) {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const bool with_bias : {false, true}) check_values_and_gradients(p, dtype, device, with_bias);
  };
  SECTION("small problems") { for_each_case(cases::conv2d, check); }
  SECTION("options that differ") { for_each_case(cases::conv2d_unequal, check); }
  SECTION("the layers of s7_final") { for_each_case(cases::conv2d_s7_final, check); }
  SECTION("large problems") {
    for_each_case(cases::conv2d_large, [](Device device, const Conv2dProblem& p) {
      check_values_and_gradients(p, DType::float32, device, true);
    });
  }
  SECTION("many channels, in double precision") {
    for (const Device device : devices())
      check_values_and_gradients({.n = 1, .c_in = 127, .h = 11, .w = 11, .c_out = 3, .k_h = 1, .k_w = 1},
                                 DType::float64, device, true);
  }
}

TEST_CASE("conv2d with many channels agrees with its formulas", "[conv2d]") {
  for_each_case(cases::conv2d_channels, [](Device device, const Conv2dProblem& p) {
    for (const DType dtype : {DType::float32, DType::float64})
      if (p.n < 9 || device.is_cpu()) check_values_and_gradients(p, dtype, device, true);
  });
}

TEST_CASE("conv2d of more images than a vector has lanes agrees with its formulas", "[conv2d]") {
  // The CPU takes such a batch in blocks, of which the last is not full.
  const auto check = [](Conv2dProblem p, DType dtype) {
    p.n = 31;
    INFO(p.description().text());
    check_values_and_gradients(p, dtype, Device::cpu(), true);
  };
  if (std::getenv("KERNELGRAD_KERNELS")) return;
  for (const Conv2dProblem& p : cases::conv2d)
    for (const DType dtype : {DType::float32, DType::float64}) check(p, dtype);
  for (const Conv2dProblem& p : cases::conv2d_unequal) check(p, DType::float32);
}

TEST_CASE("conv2d passes the gradient check", "[conv2d][gradcheck]") {
  SECTION("small problems") {
    for_each_case(cases::conv2d, [](Device device, const Conv2dProblem& p) {
      check_gradients(function_of(p), inputs_of(p, DType::float64, device));
    });
  }
  SECTION("the layers of s7_final") {
    for_each_case(cases::conv2d_s7_final, [](Device device, const Conv2dProblem& p) {
      check_gradients_along_directions(function_of(p), inputs_of(p, DType::float64, device));
    });
  }
}

TEST_CASE("conv2d gives each gradient alone as it gives all", "[conv2d]") {
  for_each_case(cases::conv2d, [](Device device, const Conv2dProblem& p) {
    check_gradient_subsets(function_of(p), inputs_of(p, DType::float32, device));
  });
}

TEST_CASE("conv2d of an empty batch is empty, with gradients of zero", "[conv2d]") {
  for (const Device device : devices()) {
    const Conv2dProblem p{.n = 0, .c_in = 2, .h = 5, .w = 5, .c_out = 3, .k_h = 3, .k_w = 3};
    const Run actual = run(function_of(p), requiring(inputs_of(p, DType::float32, device)));
    CHECK(actual.output.shape() == Shape{0, 3, 3, 3});
    CHECK(actual.gradients[0].shape() == Shape{0, 2, 5, 5});
    CHECK(to_doubles(actual.gradients[1]) == std::vector<double>(54, 0));
    CHECK(to_doubles(actual.gradients[2]) == std::vector<double>(3, 0));
  }
}

TEST_CASE("conv2d without channels is its bias, or empty, with gradients of zero", "[conv2d]") {
  for (const Device device : devices())
    for (const std::int64_t k : {1, 3}) {
      INFO(device.name() << ", kernel " << k);
      const std::int64_t out = 6 - k;
      const Conv2dProblem none_in{.n = 2, .c_in = 0, .h = 5, .w = 5, .c_out = 3, .k_h = k, .k_w = k};
      const std::vector<Tensor> inputs = inputs_of(none_in, DType::float32, device);
      const Run from_nothing = run(function_of(none_in), requiring(inputs));
      const std::vector<double> bias = to_doubles(inputs[2]), values = to_doubles(from_nothing.output);
      REQUIRE(from_nothing.output.shape() == Shape{2, 3, out, out});
      for (std::size_t i = 0; i < values.size(); ++i)
        CHECK(values[i] == bias[i / static_cast<std::size_t>(out * out) % 3]);
      CHECK(from_nothing.gradients[0].shape() == Shape{2, 0, 5, 5});
      CHECK(from_nothing.gradients[1].shape() == Shape{3, 0, k, k});
      const Conv2dProblem none_out{.n = 2, .c_in = 3, .h = 5, .w = 5, .c_out = 0, .k_h = k, .k_w = k};
      const Run to_nothing =
          run(function_of(none_out), requiring(inputs_of(none_out, DType::float32, device)));
      CHECK(to_nothing.output.shape() == Shape{2, 0, out, out});
      CHECK(to_doubles(to_nothing.gradients[0]) == std::vector<double>(150, 0));
      CHECK(to_nothing.gradients[1].shape() == Shape{0, 3, k, k});
    }
}

TEST_CASE("conv2d takes strides beyond the image: one output, and gradients as with any such stride",
          "[conv2d]") {
  for (const Device device : devices()) {
    const std::vector<Tensor> inputs = {random({1, 4, 9, 8}, DType::float32, 1, device),
                                        random({3, 4, 2, 2}, DType::float32, 2, device)};
    const auto with_stride = [&](Pair stride) {
      return run(
          [=](const std::vector<Tensor>& x) { return conv2d(x[0], x[1], {.stride = stride, .padding = 1}); },
          requiring(inputs));
    };
    const Run far = with_stride(std::int64_t{1} << 30), near = with_stride({10, 9});
    CHECK(far.output.shape() == Shape{1, 3, 1, 1});
    CHECK(same_bits(far.output, near.output));
    for (const std::size_t i : {0, 1}) CHECK(same_bits(far.gradients[i], near.gradients[i]));
  }
}

TEST_CASE("conv2d on the longest rows", "[conv2d]") {
  // As many columns as float counts in ones, twice, so that the count starts anew.
  constexpr std::int64_t w = 1 << 24;
  Tensor x = Tensor::empty({1, 1, 2, w}), expected = Tensor::empty({1, 1, 2, w - 1});
  for (std::int64_t i = 0; i < 2 * w; ++i) x.data<float>()[i] = static_cast<float>(i % 1021);
  for (std::int64_t row = 0; row < 2; ++row)
    for (std::int64_t i = 0; i < w - 1; ++i)
      expected.data<float>()[row * (w - 1) + i] =
          static_cast<float>((row * w + i) % 1021 + 2 * ((row * w + i + 1) % 1021));
  const Tensor weight = Tensor::from(std::vector<float>{1, 2}, {1, 1, 1, 2});
  const Tensor y = conv2d(x.set_requires_grad(), weight);
  CHECK(same_bits(y, expected));
  // The gradient of ones: 1 and 2 where both taps reach, and less at either end.
  y.backward(Tensor::ones(y.shape()));
  Tensor gradient = Tensor::full(x.shape(), 3);
  for (const std::int64_t row : {0, 1}) {
    gradient.data<float>()[row * w] = 1;
    gradient.data<float>()[row * w + w - 1] = 2;
  }
  CHECK(same_bits(x.grad(), gradient));
}

TEST_CASE("conv2d's input gradient on rows too long for it is an error", "[conv2d][errors]") {
  // Forward's rows are half as long, and the last column is no output's.
  const Tensor x = Tensor::zeros({1, 1, 1, (1 << 25) + 1}).set_requires_grad();
  const Tensor y = conv2d(x, Tensor::ones({1, 1, 1, 2}), {.stride = {1, 2}});
  REQUIRE(y.size(3) == 1 << 24);
  check_error([&] { y.backward(Tensor::zeros(y.shape())); },
              {"conv2d", "rows of 16777217", "expected at most 16777216"});
}

TEST_CASE("conv2d keeps NaN and infinity to the outputs whose window holds them", "[conv2d]") {
  const float bad = GENERATE(std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity());
  const std::int64_t stride = GENERATE(1, 2);
  const Conv2dOptions options = {.stride = stride, .padding = 1};
  Tensor x = random({1, 1, 9, 40}, DType::float32, 1);
  x.data<float>()[4 * 40 + 20] = bad;
  for (const Device device : devices()) {
    INFO(device.name() << ", stride " << stride);
    const Tensor y = conv2d(x.to(device), Tensor::ones({1, 1, 3, 3}, {.device = device}), {}, options);
    const std::vector<float> values = y.to_vector<float>();
    for (std::int64_t row = 0; row < y.size(2); ++row)
      for (std::int64_t column = 0; column < y.size(3); ++column) {
        const bool reached = std::abs(row * stride - 4) <= 1 && std::abs(column * stride - 20) <= 1;
        CHECK(std::isfinite(values[static_cast<std::size_t>(row * y.size(3) + column)]) == !reached);
      }
  }
}

TEST_CASE("conv2d keeps NaN in a gradient to the inputs that its window held", "[conv2d]") {
  const std::int64_t stride = GENERATE(1, 2);
  for (const Device device : devices()) {
    INFO(device.name() << ", stride " << stride);
    const Tensor x = random({1, 1, 9, 40}, DType::float32, 1, device).set_requires_grad();
    const Tensor y =
        conv2d(x, Tensor::ones({1, 1, 3, 3}, {.device = device}), {}, {.stride = stride, .padding = 1});
    Tensor gradient = random(y.shape(), DType::float32, 2);
    gradient.data<float>()[2 * y.size(3) + 7] = std::numeric_limits<float>::quiet_NaN();
    y.backward(gradient.to(device));
    const std::vector<float> values = x.grad().to_vector<float>();
    for (std::int64_t row = 0; row < 9; ++row)
      for (std::int64_t column = 0; column < 40; ++column) {
        const bool reached = std::abs(row - 2 * stride) <= 1 && std::abs(column - 7 * stride) <= 1;
        CHECK(std::isnan(values[static_cast<std::size_t>(row * 40 + column)]) == reached);
      }
  }
}

TEST_CASE("conv2d multiplies its padding: a weight that is not a number spoils every output",
          "[conv2d][native]") {
  const std::int64_t stride = GENERATE(1, 2);
  Tensor w = Tensor::ones({1, 1, 3, 3});
  w.data<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  for (const Device device : devices()) {
    INFO(device.name() << ", stride " << stride);
    const Tensor x = random({1, 1, 5, 6}, DType::float32, 1, device);
    for (const float value : conv2d(x, w.to(device), {}, {.stride = stride, .padding = 1}).to_vector<float>())
      CHECK(std::isnan(value));
  }
}

TEST_CASE("conv2d says what does not fit", "[conv2d][errors]") {
  const Tensor x = random({1, 4, 5, 6}, DType::float32), w = random({6, 4, 3, 3}, DType::float32);
  check_error([&] { conv2d({}, w); }, {"conv2d", "input", "undefined"});
  check_error([&] { conv2d(x, Tensor()); }, {"conv2d", "weight", "undefined"});
  check_error(
      [&] {
        conv2d(Tensor::zeros({1, 4, 5, 6}, {.dtype = DType::uint8}), w);
      },
      {"conv2d", "input", "uint8", "float32 or float64"});
  check_error([&] { conv2d(x, w.to(DType::float64)); }, {"conv2d", "weight", "float64", "expected float32"});
  check_error([&] { conv2d(x.reshape({4, 5, 6}), w); }, {"conv2d", "input", "[4, 5, 6]", "[n, c_in, h, w]"});
  check_error([&] { conv2d(x, w.reshape({6, 4, 9})); }, {"conv2d", "weight", "[6, 4, 9]", "4 dimensions"});
  check_error(
      [&] {
        conv2d(x, random({6, 3, 3, 3}, DType::float32));
      },
      {"conv2d", "[1, 4, 5, 6]", "4 channels", "[6, 3, 3, 3]", "expects 3"});
  check_error([&] { conv2d(x, w, {.groups = 3}); }, {"conv2d", "groups = 3", "4 input"});
  check_error([&] { conv2d(x, w, {.groups = 0}); }, {"conv2d", "groups = 0"});
  check_error([&] { conv2d(x, w, {.groups = -2}); }, {"conv2d", "groups = -2"});
  check_error([&] { conv2d(x, w, {.groups = 2}); }, {"conv2d", "4 channels", "groups = 2", "expects 8"});
  check_error([&] { conv2d(x, random({6, 4, 6, 1}, DType::float32)); }, {"conv2d", "[6, 4, 6, 1]", "fit"});
  check_error([&] { conv2d(x, random({6, 4, 1, 7}, DType::float32)); }, {"conv2d", "[6, 4, 1, 7]", "fit"});
  check_error(
      [&] {
        conv2d(x, w, {.padding = {0, 1}, .dilation = {1, 4}});
      },
      {"conv2d", "dilation [1, 4]", "does not fit", "padding [0, 1]"});
  check_error(
      [&] {
        conv2d(Tensor::zeros({1, 4, 5, 0}), w, {.padding = 2});
      },
      {"conv2d", "input", "[1, 4, 5, 0]", "at least one pixel"});
  // Where float numbers no more columns. On CUDA the row is a plane like any other.
  check_error(
      [&] {
        conv2d(Tensor::zeros({1, 1, 1, 1 << 24}), random({1, 1, 1, 3}, DType::float32), {.padding = {0, 1}});
      },
      {"conv2d", "rows of", "expected at most 16777216"});
  const std::int64_t huge = std::int64_t{1} << 30;
  check_error([&] { conv2d(x, w, {.stride = huge, .padding = huge}); },
              {"conv2d", "padding", "than memory can hold"});
  check_error([&] { conv2d(x, random({6, 4, 0, 3}, DType::float32)); }, {"conv2d", "[6, 4, 0, 3]"});
  check_error([&] { conv2d(x, w, {.stride = {0, 1}}); }, {"conv2d", "stride"});
  check_error([&] { conv2d(x, w, {.stride = {1, -1}}); }, {"conv2d", "stride"});
  check_error([&] { conv2d(x, w, {.padding = {-1, 0}}); }, {"conv2d", "padding"});
  check_error([&] { conv2d(x, w, {.dilation = {1, 0}}); }, {"conv2d", "dilation"});
  check_error([&] { conv2d(x, w, random({5}, DType::float32)); }, {"conv2d", "bias", "[5]", "[6]"});
  check_error([&] { conv2d(x, w, random({6}, DType::float64)); }, {"conv2d", "bias", "float64"});
}

}  // namespace
}  // namespace kg
