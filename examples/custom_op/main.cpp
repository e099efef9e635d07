// SPDX-License-Identifier: MIT
// An operation of one's own, written outside the library: hard swish (Howard et al., "Searching for
// MobileNetV3", 2019), hard_swish(x) = x * min(max(x + 3, 0), 6) / 6.
//
// Three steps make it a full citizen: compute the forward values, kg::record() the backward rule, and let
// kg::gradcheck() confirm that the two belong together. Exits with 1 if they do not.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "kernelgrad/kernelgrad.h"

namespace {

template <class T>
T value(T x) {
  return x * std::clamp(x + 3, T(0), T(6)) / 6;
}

template <class T>
T derivative(T x) {
  return x < -3 ? T(0) : x > 3 ? T(1) : (2 * x + 3) / 6;
}

template <class T>
kg::Tensor hard_swish_as(const kg::Tensor& x) {
  kg::Tensor y = kg::Tensor::empty(x.shape(), {.dtype = x.dtype()});
  std::ranges::transform(x.span<T>(), y.span<T>().begin(), value<T>);
  // The rule captures what the gradient needs, here the input, and lives until the graph is freed. Should
  // somebody overwrite the input by then, unpack() throws.
  const auto rule = [saved = kg::SavedTensor(x, "x")](const kg::BackwardCall& call) {
    const kg::Tensor x = saved.unpack(call);
    kg::Tensor grad_input = kg::Tensor::empty(x.shape(), {.dtype = x.dtype()});
    std::ranges::transform(x.span<T>(), call.grad_output.span<T>(), grad_input.span<T>().begin(),
                           [](T element, T grad) { return derivative(element) * grad; });
    return std::vector<kg::Tensor>{grad_input};
  };
  return kg::record("hard_swish", y, {x}, rule);
}

// Both dtypes, because the gradient check wants float64. span() throws kg::Error for any other, and for a
// tensor that is not in the CPU's memory.
kg::Tensor hard_swish(const kg::Tensor& x) {
  return x.dtype() == kg::DType::float64 ? hard_swish_as<double>(x) : hard_swish_as<float>(x);
}

// As a module it can stand in a Sequential.
class HardSwish : public kg::nn::Module {
 public:
  kg::Tensor forward(const kg::Tensor& x) override { return hard_swish(x); }
  std::string_view type_name() const override { return "HardSwish"; }
};

// Points in all three pieces of the function, and none within epsilon of where they meet, -3 and 3.
bool gradient_is_right() {
  kg::Tensor x = kg::Tensor::from<double>({-5, -3.1, -2.9, -1.5, -0.4, 0, 0.7, 2.9, 3.1, 4}, {2, 5});
  x.set_requires_grad();
  const kg::GradcheckResult result =
      kg::gradcheck([](const std::vector<kg::Tensor>& inputs) { return hard_swish(inputs[0]); }, {x});
  std::printf("gradient check: %s, largest relative deviation %.1e%s%s\n",
              result.passed ? "passed" : "FAILED", result.error, result.passed ? "" : ": ",
              result.message.c_str());
  return result.passed;
}

// Fits sin on [-pi, pi] by gradient descent.
void fit_a_sine() {
  constexpr int points = 64;
  kg::Tensor x = kg::Tensor::empty({points, 1}), minus_sine = kg::Tensor::empty({points, 1});
  for (int i = 0; i < points; ++i) {
    x.data<float>()[i] = -3.1416f + 6.2832f * static_cast<float>(i) / (points - 1);
    minus_sine.data<float>()[i] = -std::sin(x.data<float>()[i]);
  }
  kg::manual_seed(1);
  kg::nn::Sequential network{kg::nn::Linear(1, 16), HardSwish(), kg::nn::Linear(16, 1)};
  for (int step = 0; step <= 2000; ++step) {
    const kg::Tensor difference = network(x) + minus_sine;
    const kg::Tensor loss = kg::mean(difference * difference);
    loss.backward();
    for (kg::Tensor& parameter : network.parameters()) {
      parameter.copy_from(parameter.detach() + -0.05 * parameter.grad());
      parameter.set_grad({});
    }
    if (step % 500 == 0) std::printf("step %4d: mean squared error %.5f\n", step, loss.item());
  }
}

}  // namespace

int main() try {
  if (!gradient_is_right()) return 1;
  fit_a_sine();
  return 0;
} catch (const kg::Error& error) {
  std::fprintf(stderr, "custom_op: %s\n", error.what());
  return 1;
}
