// SPDX-License-Identifier: MIT
#include "cases/linear.h"

#include "reference/linear.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using kernels::LinearProblem;

Function function() {
  return [](const std::vector<Tensor>& t) { return linear(t[0], t[1], t[2]); };
}

std::vector<Tensor> inputs_of(const LinearProblem& p, DType dtype, Device device, bool with_bias = true) {
  return {random({p.rows, p.in_features}, dtype, 1, device),
          random({p.out_features, p.in_features}, dtype, 2, device),
          with_bias ? random({p.out_features}, dtype, 3, device) : Tensor()};
}

TEST_CASE("linear and its gradients agree with their formulas", "[linear]") {
  const auto check = [](Device device, const LinearProblem& p) {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const bool with_bias : {false, true}) {
        INFO(name_of(dtype) << (with_bias ? ", bias" : ", no bias"));
        const double tolerance = dtype == DType::float32 ? 2e-6 : 1e-12;
        const std::vector<Tensor> inputs = inputs_of(p, dtype, device, with_bias);
        const std::vector<double> x = to_doubles(inputs[0]), w = to_doubles(inputs[1]),
                                  b = with_bias ? to_doubles(inputs[2]) : std::vector<double>();
        const Run actual = run(function(), requiring(inputs));
        CHECK(difference(actual.output, reference::linear(p, x, w, b), tolerance) == "");
        const auto expected =
            reference::linear_backward(p, x, w, to_doubles(random(actual.output.shape(), dtype, 99)));
        CHECK(difference(actual.gradients[0], expected.input, tolerance) == "");
        CHECK(difference(actual.gradients[1], expected.weight, tolerance) == "");
        if (with_bias) CHECK(difference(actual.gradients[2], expected.bias, tolerance) == "");
      }
  };
  SECTION("small problems") { for_each_case(cases::linear, check); }
  SECTION("large problems") { for_each_case(cases::linear_large, check); }
}

TEST_CASE("linear passes the gradient check", "[linear][gradcheck]") {
  for_each_case(cases::linear, [](Device device, const LinearProblem& p) {
    check_gradients(function(), inputs_of(p, DType::float64, device));
    check_gradients(function(), inputs_of(p, DType::float64, device, false));
  });
}

TEST_CASE("linear gives each gradient alone as it gives all", "[linear]") {
  for_each_case(cases::linear, [](Device device, const LinearProblem& p) {
    check_gradient_subsets(function(), inputs_of(p, DType::float32, device));
  });
}

TEST_CASE("linear takes any dimensions before the features", "[linear]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor w = random({5, 4}, DType::float64, 2, device), b = random({5}, DType::float64, 3, device);
    const Tensor x = random({2, 3, 4}, DType::float64, 1, device);
    CHECK(linear(x, w, b).shape() == Shape{2, 3, 5});
    CHECK(same_bits(linear(x, w, b).reshape({6, 5}), linear(x.reshape({6, 4}), w, b)));
    CHECK(linear(random({4}, DType::float64, 1, device), w, b).shape() == Shape{5});
    check_gradients(function(), {x, w, b});
  }
}

TEST_CASE("linear of nothing is nothing, and sums of nothing are 0", "[linear]") {
  const LinearProblem p = GENERATE(LinearProblem{0, 4, 5}, LinearProblem{3, 0, 5}, LinearProblem{3, 4, 0});
  for (const Device device : devices()) {
    INFO(device.name() << ": " << describe(p));
    const Run result = run(function(), requiring(inputs_of(p, DType::float64, device)));
    CHECK(result.output.shape() == Shape{p.rows, p.out_features});
    if (p.in_features == 0)
      CHECK(same_bits(result.output,
                      mul(Tensor::ones({3, 1}, {DType::float64}), random({5}, DType::float64, 3))));
    for (const double value : to_doubles(result.gradients[0])) CHECK(value == 0);
    for (const double value : to_doubles(result.gradients[1])) CHECK(value == 0);
    if (p.rows == 0)
      for (const double value : to_doubles(result.gradients[2])) CHECK(value == 0);
  }
}

TEST_CASE("linear hands NaN on to what depends on it and to nothing else", "[linear]") {
  const LinearProblem p{.rows = 67, .in_features = 131, .out_features = 66};
  constexpr std::int64_t row = 65, feature = 130;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const Device device : devices()) {
    INFO(device.name());
    std::vector<Tensor> inputs = inputs_of(p, DType::float32, device);
    std::vector<double> x = to_doubles(inputs[0]);
    x[row * p.in_features + feature] = nan;
    inputs[0] = from_doubles(x, inputs[0].shape(), DType::float32, device);
    const Run result = run(function(), requiring(inputs));
    const std::vector<double> y = to_doubles(result.output), grad_weight = to_doubles(result.gradients[1]);
    std::int64_t wrong = 0;
    for (std::int64_t i = 0; i < std::ssize(y); ++i)
      wrong += std::isnan(y[static_cast<std::size_t>(i)]) != (i / p.out_features == row);
    for (std::int64_t i = 0; i < std::ssize(grad_weight); ++i)
      wrong += std::isnan(grad_weight[static_cast<std::size_t>(i)]) != (i % p.in_features == feature);
    CHECK(wrong == 0);
  }
}

TEST_CASE("linear says what does not fit", "[linear][errors]") {
  const Tensor x = random({2, 4}, DType::float32), w = random({5, 4}, DType::float32);
  check_error([&] { linear({}, w); }, {"linear", "input", "undefined"});
  check_error([&] { linear(x, {}); }, {"linear", "weight", "undefined"});
  check_error(
      [&] {
        linear(Tensor::zeros({2, 4}, {.dtype = DType::uint8}), w);
      },
      {"linear", "input", "uint8"});
  check_error([&] { linear(x, w.to(DType::float64)); }, {"linear", "weight", "float64", "float32"});
  check_error([&] { linear(x, random({4}, DType::float32)); }, {"linear", "weight", "[4]", "2 dimensions"});
  check_error([&] { linear(random({2, 3}, DType::float32), w); }, {"linear", "[2, 3]", "[..., 4]", "[5, 4]"});
  check_error([&] { linear(Tensor::zeros({}), w); }, {"linear", "[]", "[..., 4]"});
  check_error([&] { linear(x, w, random({4}, DType::float32)); }, {"linear", "bias", "[4]", "[5]"});
  check_error([&] { linear(x, w, random({5})); }, {"linear", "bias", "float64"});
}

}  // namespace
}  // namespace kg
