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
