// SPDX-License-Identifier: MIT
#include "support.h"

namespace kg {
namespace {

using namespace testing;

/// x^2 whose rule multiplies the right gradient by `factor` at element 2 and adds `offset` there.
Function square_with_error(double factor, double offset = 0) {
  return [=](const std::vector<Tensor>& inputs) {
    const Tensor x = inputs[0];
    const Tensor value = x.detach() * x.detach();
    return record("square", value, {x}, [=](const BackwardCall& call) -> std::vector<Tensor> {
      Tensor gradient = x.detach() * call.grad_output * 2;
      double& element = gradient.data<double>()[2];
      element = element * factor + offset;
      return {gradient};
    });
  };
}

std::vector<Tensor> one_input() { return requiring({random({2, 3})}); }

TEST_CASE("gradcheck passes a right gradient", "[gradcheck]") {
  const GradcheckResult result = gradcheck(square_with_error(1), one_input());
  CHECK(result.passed);
  CHECK(result.error < 1e-8);
  CHECK(result.message == "");
}

TEST_CASE("gradcheck finds a planted error and says where", "[gradcheck]") {
  for (const double factor : {0.0, -1.0, 2.0, 1 + 1e-3}) {
    const GradcheckResult result = gradcheck(square_with_error(factor), one_input());
    INFO(factor);
    CHECK(!result.passed);
    CHECK(result.error > 1e-6);
    CHECK(result.message.find("input 0 [0, 2]: backward gives") == 0);
  }
}

/// The value, with a rule that multiplies each entry's derivative by its factor.
Tensor recorded(const Tensor& value, const Tensor& x, const Tensor& derivative,
                const std::vector<double>& factors) {
  return record("mine", value, {x}, [=](const BackwardCall& call) -> std::vector<Tensor> {
    return {call.grad_output * derivative * Tensor::from(factors, x.shape())};
  });
}

Function square_with(const std::vector<double>& factors) {
  return [=](const std::vector<Tensor>& t) {
    const Tensor x = t[0].detach();
    return recorded(x * x, t[0], x * 2.0, factors);
  };
}

Function cube_with(const std::vector<double>& factors) {
  return [=](const std::vector<Tensor>& t) {
    const Tensor x = t[0].detach();
    return recorded(x * x * x, t[0], x * x * 3.0, factors);
  };
}

std::vector<Tensor> input_of(const std::vector<double>& values) {
  return requiring({from_doubles(values, {std::ssize(values)}, DType::float64)});
}

TEST_CASE("gradcheck looks at a small derivative beside large ones", "[gradcheck]") {
  const double large = GENERATE(1.0, 1e3, 1e6, 1e9), small = GENERATE(0.1, 1e-2, 1e-4);
  const std::vector<Tensor> inputs = input_of({large, small, 0.1});
  INFO(large << ", " << small);
  for (const auto& function_with : {square_with, cube_with}) {
    CHECK(gradcheck(function_with({1, 1, 1}), inputs).passed);
    for (const double factor : {0.0, -1.0, 2.0, 1 + 1e-4}) {
      INFO("times " << factor);
      const GradcheckResult result = gradcheck(function_with({1, factor, 1}), inputs);
      CHECK(!result.passed);
      CHECK(std::abs(result.error / std::abs(factor - 1) - 1) < 1e-3);
      CHECK(result.message.find("input 0 [1]: backward gives") == 0);
      CHECK(result.message.find("for output [1]") != std::string::npos);
    }
  }
}

TEST_CASE("gradcheck looks at a small derivative of a sum with large terms", "[gradcheck]") {
  const auto summed = [](const Function& function) -> Function {
    return [=](const std::vector<Tensor>& t) { return sum(function(t)); };
  };
  for (const double factor : {0.0, -1.0, 2.0}) {
    INFO("times " << factor);
    CHECK(!gradcheck(summed(cube_with({1, factor, 1})), input_of({1e3, 0.1, 0.1})).passed);
    CHECK(!gradcheck(summed(square_with({1, factor, 1})), input_of({1e3, 1e-4, 1})).passed);
  }
  // What rounding hides is no error.
  for (const double large : {1e3, 1e6, 1e9})
    CHECK(gradcheck(summed(cube_with({1, 1, 1})), input_of({large, 1e-4, 0.1})).passed);
}

TEST_CASE("gradcheck looks at derivatives that are small everywhere", "[gradcheck]") {
  const double size = GENERATE(1e-3, 1e-9, 1e-100);
  const auto scaled = [size](double factor) -> Function {
    return [=](const std::vector<Tensor>& t) {
      return recorded(t[0].detach() * size, t[0], Tensor::full({3}, size, {DType::float64}), {1, 1, factor});
    };
  };
  INFO(size);
  const std::vector<Tensor> inputs = input_of({0.5, -2, 3});
  CHECK(gradcheck(scaled(1), inputs).passed);
  for (const double factor : {0.0, -1.0, 2.0, 1 + 1e-4}) CHECK(!gradcheck(scaled(factor), inputs).passed);
}

TEST_CASE("gradcheck tells a derivative of 1e-9 beside a 1 from none", "[gradcheck]") {
  const auto nearly_constant = [](double factor) -> Function {
    return [=](const std::vector<Tensor>& t) {
      const Tensor one = Tensor::ones({1}, {DType::float64});
      return recorded(one + t[0].detach() * 1e-9, t[0], one * 1e-9, {factor});
    };
  };
  CHECK(gradcheck(nearly_constant(1), input_of({0.5})).passed);
  CHECK(!gradcheck(nearly_constant(0), input_of({0.5})).passed);
  CHECK(!gradcheck(nearly_constant(-1), input_of({0.5})).passed);
}

TEST_CASE("gradcheck passes entries of every size", "[gradcheck]") {
  for (const double sign : {1.0, -1.0}) {
    const std::vector<Tensor> inputs =
        input_of({sign * 1e15, sign * 1e3, sign, sign * 1e-4, sign * 1e-12, 0});
    for (const auto& function_with : {square_with, cube_with})
      CHECK(gradcheck(function_with(std::vector<double>(6, 1)), inputs).message == "");
  }
}

TEST_CASE("gradcheck's quotient is exact enough for steep functions", "[gradcheck]") {
  // A central difference is off by 2e-5 of the derivative, twenty times the tolerance.
  const Function steep = [](const std::vector<Tensor>& t) {
    std::vector<double> values = to_doubles(t[0]);
    for (double& value : values) value = std::exp(200 * value);
    const Tensor y = Tensor::from(values, t[0].shape());
    return recorded(y, t[0], y * 200.0, std::vector<double>(values.size(), 1));
  };
  CHECK(gradcheck(steep, input_of({-1, 0, 0.01})).message == "");
}

TEST_CASE("gradcheck steps as far as its options say, and without recording", "[gradcheck]") {
  const std::vector<double> at = {0.5, -10, 999, 2e3, -5e6}, reach = {1e-3, 1e-3, 1e-3, 2e-3, 5};
  std::vector<std::vector<double>> steps(at.size());
  int recorded = 0;
  const Function square = [&](const std::vector<Tensor>& t) {
    const std::vector<double> values = to_doubles(t[0]);
    for (std::size_t i = 0; i < at.size(); ++i)
      if (values[i] != at[i]) steps[i].push_back(values[i] - at[i]);
    recorded += grad_is_enabled();
    // A wrong gradient, so that the farther points are looked at too.
    return square_with({2, 2, 2, 2, 2})(t);
  };
  gradcheck(square, input_of(at), {.epsilon = 1e-3});
  for (std::size_t i = 0; i < at.size(); ++i) {
    INFO(at[i]);
    std::ranges::sort(steps[i]);
    REQUIRE(steps[i].size() == 4);
    const double expected[] = {-reach[i], -reach[i] / 2, reach[i] / 2, reach[i]};
    for (std::size_t k = 0; k < 4; ++k) CHECK(std::abs(steps[i][k] - expected[k]) < 1e-6 * reach[i]);
  }
  CHECK(recorded == 1);
}

TEST_CASE("gradcheck takes for rounding what its formula says", "[gradcheck]") {
  // Numbers of few bits: all differences are exact.
  const double slope = GENERATE(0.5, -0.5), sign = GENERATE(1.0, -1.0), epsilon = 0.125;
  const std::vector<Tensor> inputs =
      requiring({from_doubles({0.5, -2}, {2}, DType::float64), from_doubles({2}, {}, DType::float64)});
  const auto off_by = [&](double deviation) -> Function {
    return [=](const std::vector<Tensor>& t) {
      const std::vector<double> x = to_doubles(t[0]), z = to_doubles(t[1]);
      const Tensor y = Tensor::from(std::vector{sign * (1 + slope * x[0] + x[1] / 4 + z[0] / 4)}, {});
      return record("mine", y, {t[0], t[1]}, [=](const BackwardCall& call) -> std::vector<Tensor> {
        const double g = call.grad_output.item();
        return {Tensor::from(std::vector{g * (sign * slope + deviation), g * sign / 4}, {2}),
                Tensor::from(std::vector{g * sign / 4}, {})};
      });
    };
  };
  const double y = 1 + slope * 0.5 + 0.5 * epsilon;  // the larger of the two
  const double terms = 0.25 + 0.5 + 0.5;
  const double noise = 3 * std::numeric_limits<double>::epsilon() * (y + terms) / epsilon;
  const auto check = [&](double deviation) {
    return gradcheck(off_by(deviation), inputs, {.epsilon = epsilon, .tolerance = 0});
  };
  CHECK(check(0.975 * noise).passed);
  CHECK(!check(1.025 * noise).passed);
  CHECK(std::abs(check(3 * noise).error / (2 * noise / 0.5) - 1) < 0.02);
}

TEST_CASE("gradcheck tells the largest error and its place, of a right gradient too", "[gradcheck]") {
  const std::vector<Tensor> inputs = input_of({1, 2, 3});
  const auto check = [&](const std::vector<double>& factors, double error, const char* place) {
    const GradcheckResult result = gradcheck(square_with(factors), inputs);
    CHECK(std::abs(result.error / error - 1) < 0.01);
    CHECK(result.message.find(place) == 0);
  };
  check({1, 1.5, 1.25}, 0.5, "input 0 [1]: ");
  check({1, 1.25, 1.5}, 0.5, "input 0 [2]: ");
  check({1, 1 + 1e-7, 1 + 5e-7}, 5e-7, "");
}

TEST_CASE("gradcheck finds a rule that takes its gradient for 1", "[gradcheck]") {
  const Function loss = [](const std::vector<Tensor>& t) {
    const Tensor x = t[0].detach();
    return record("loss", sum(x * x), {t[0]},
                  [=](const BackwardCall&) -> std::vector<Tensor> { return {x * 2.0}; });
  };
  CHECK(!gradcheck(loss, input_of({1, 2, 3})).passed);
}

TEST_CASE("gradcheck finds a rule that is right for each output element, not for all", "[gradcheck]") {
  const Function first_only = [](const std::vector<Tensor>& t) {
    return record("mine", t[0].clone(), {t[0]}, [](const BackwardCall& call) -> std::vector<Tensor> {
      std::vector<double> values = to_doubles(call.grad_output);
      const auto first = std::ranges::find_if(values, [](double g) { return g != 0; });
      if (first != values.end()) std::fill(first + 1, values.end(), 0.0);
      return {Tensor::from(values, call.grad_output.shape())};
    });
  };
  const GradcheckResult result = gradcheck(first_only, input_of({1, 2, 3}));
  CHECK(!result.passed);
  CHECK(result.message.find("for all of the output") != std::string::npos);

  // In the second input, and where all derivatives are small.
  const Function second = [&](const std::vector<Tensor>& t) {
    return t[0] * 1e-9 + first_only({t[1]}) * 1e-9;
  };
  const GradcheckResult of_second = gradcheck(second, requiring({random({3}), random({3})}));
  CHECK(of_second.error > 0.1);
  CHECK(of_second.message.find("input 1 [") == 0);
}

TEST_CASE("gradcheck finds NaN that a rule gives for all of the output alone", "[gradcheck]") {
  const Function nan_for_all = [](const std::vector<Tensor>& t) {
    return record("mine", t[0].clone(), {t[0]}, [](const BackwardCall& call) -> std::vector<Tensor> {
      const bool one = std::ranges::count(to_doubles(call.grad_output), 0.0) == 2;
      return {call.grad_output * (one ? 1 : std::nan(""))};
    });
  };
  const GradcheckResult result = gradcheck(nan_for_all, input_of({1, 2, 3}));
  CHECK(!result.passed);
  CHECK(result.error == HUGE_VAL);
}

TEST_CASE("gradcheck passes no gradient by a function that is infinite nearby", "[gradcheck]") {
  // At the farther points alone.
  const Function walled = [](const std::vector<Tensor>& t) {
    std::vector<double> values = to_doubles(t[0]);
    for (double& value : values) value = std::abs(value - 1) > 0.75e-4 ? HUGE_VAL * (value - 1) : value;
    return recorded(Tensor::from(values, {1}), t[0], Tensor::zeros({1}, {.dtype = DType::float64}), {1});
  };
  const GradcheckResult result = gradcheck(walled, input_of({1}));
  CHECK(!result.passed);
  CHECK(result.error == HUGE_VAL);
}

TEST_CASE("gradcheck gives an infinite error where there should be no gradient", "[gradcheck]") {
  const Function unused = [](const std::vector<Tensor>& t) {
    return recorded(Tensor::ones({2}, {DType::float64}), t[0], Tensor::ones({2}, {DType::float64}),
                    {0, 1e-9});
  };
  const GradcheckResult result = gradcheck(unused, input_of({1, 2}));
  CHECK(!result.passed);
  CHECK(result.error == HUGE_VAL);
}

TEST_CASE("gradcheck never passes NaN or infinity", "[gradcheck]") {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    const GradcheckResult result = gradcheck(square_with_error(1, bad), one_input());
    CHECK(!result.passed);
    CHECK(!(result.error <= 1e-6));
    CHECK(result.message.find("input 0 [0, 2]") == 0);
  }
  // NaN on both sides is no agreement.
  const Function of_nan = [](const std::vector<Tensor>& t) { return t[0] * std::nan(""); };
  CHECK(!gradcheck(of_nan, one_input()).passed);
}

TEST_CASE("gradcheck finds a gradient that is missing", "[gradcheck]") {
  const Function half = [](const std::vector<Tensor>& t) { return t[0] + t[1].detach(); };
  const GradcheckResult result = gradcheck(half, requiring({random({2}), random({2}, DType::float64, 1)}));
  CHECK(!result.passed);
  CHECK(result.message.find("input 1") == 0);
}

TEST_CASE("gradcheck finds an error in any output element", "[gradcheck]") {
  // The sum of the outputs has the right gradient, the single outputs have not.
  const Function swapped = [](const std::vector<Tensor>& t) {
    const Tensor x = t[0];
    return record("swap", x.clone(), {x}, [](const BackwardCall& call) -> std::vector<Tensor> {
      std::vector<double> values = to_doubles(call.grad_output);
      std::swap(values[0], values[1]);
      return {Tensor::from(values, call.grad_output.shape())};
    });
  };
  CHECK(!gradcheck(swapped, requiring({random({3})})).passed);
}

TEST_CASE("gradcheck checks each input that requires a gradient, and no other", "[gradcheck]") {
  const Function wrong_in_second = [](const std::vector<Tensor>& t) {
    return record("mine", t[0].detach() + t[1].detach(), {t[0], t[1]},
                  [](const BackwardCall& call) -> std::vector<Tensor> {
                    return {call.grad_output, call.grad_output * 2};
                  });
  };
  const std::vector<Tensor> inputs = {random({2}, DType::float64, 1), random({2}, DType::float64, 2)};
  CHECK(gradcheck(wrong_in_second, requiring(inputs, {true, false})).passed);
  CHECK(gradcheck(wrong_in_second, requiring(inputs)).message.find("input 1") == 0);
}

TEST_CASE("gradcheck leaves its inputs as they are", "[gradcheck]") {
  const std::vector<Tensor> inputs = one_input();
  const std::vector<double> before = to_doubles(inputs[0]);
  gradcheck(square_with_error(1), inputs);
  CHECK(to_doubles(inputs[0]) == before);
  CHECK(!inputs[0].grad().defined());
  const Tensor gradient = random({2, 3}, DType::float64, 7);
  Tensor(inputs[0]).set_grad(gradient);
  CHECK(gradcheck(square_with_error(1), inputs).passed);
  CHECK(same_bits(inputs[0].grad(), gradient));
}

TEST_CASE("gradcheck keeps to the tolerance it is given", "[gradcheck]") {
  const Function slightly_wrong = square_with_error(1.001);
  CHECK(!gradcheck(slightly_wrong, one_input()).passed);
  CHECK(gradcheck(slightly_wrong, one_input(), {.tolerance = 0.1}).passed);
}

TEST_CASE("gradcheck says what does not fit", "[gradcheck][errors]") {
  check_error([] { gradcheck(square_with_error(1), requiring({random({3}, DType::float32)})); },
              {"gradcheck", "input 0", "float32", "float64"});
  check_error([] { gradcheck(square_with_error(1), {random({3})}); },
              {"gradcheck", "no input requires a gradient"});
  check_error([] { gradcheck(square_with_error(1), {}); }, {"gradcheck", "no input requires a gradient"});
}

}  // namespace
}  // namespace kg
