// SPDX-License-Identifier: MIT
// An operation of one's own, written outside the library, for the CPU and for CUDA: Mish (mish.h).
//
// Three steps make it a full citizen: compute the forward values, kg::record() the backward rule, and let
// kg::gradcheck() confirm that the two belong together. Exits with 1 if they do not.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "kernelgrad/kernelgrad.h"
#include "mish.h"

namespace {

// Whether mish.cu is part of this program, as CMakeLists.txt says.
#ifndef CUSTOM_OP_CUDA
#define CUSTOM_OP_CUDA false
#endif
constexpr bool with_cuda = CUSTOM_OP_CUDA;

template <class T>
kg::Tensor forward(const kg::Tensor& x) {
  kg::Tensor y = kg::Tensor::empty(x.shape(), {.dtype = x.dtype(), .device = x.device()});
  if constexpr (with_cuda)
    if (x.device().is_cuda()) {
      mish_forward_cuda(x.numel(), x.device_data<T>(), y.device_data<T>());
      return y;
    }
  std::ranges::transform(x.span<T>(), y.span<T>().begin(), Mish::value<T>);
  return y;
}

template <class T>
kg::Tensor backward(const kg::Tensor& x, const kg::Tensor& grad_output) {
  kg::Tensor grad_input = kg::Tensor::empty(x.shape(), {.dtype = x.dtype(), .device = x.device()});
  if constexpr (with_cuda)
    if (x.device().is_cuda()) {
      mish_backward_cuda(x.numel(), x.device_data<T>(), grad_output.device_data<T>(),
                         grad_input.device_data<T>());
      return grad_input;
    }
  std::ranges::transform(x.span<T>(), grad_output.span<T>(), grad_input.span<T>().begin(),
                         [](T element, T grad) { return Mish::derivative(element) * grad; });
  return grad_input;
}

template <class T>
kg::Tensor mish_as(const kg::Tensor& x) {
  // The rule captures what the gradient needs, here the input, and lives until the graph is freed. Should
  // somebody overwrite the input by then, unpack() throws.
  const auto rule = [saved = kg::SavedTensor(x, "x")](const kg::BackwardCall& call) {
    return std::vector<kg::Tensor>{backward<T>(saved.unpack(call), call.grad_output)};
  };
  return kg::record("mish", forward<T>(x), {x}, rule);
}

// Both dtypes, because the gradient check wants float64. span() and device_data() throw kg::Error for any
// other, and for a tensor that is on another device.
kg::Tensor mish(const kg::Tensor& x) {
  return x.dtype() == kg::DType::float64 ? mish_as<double>(x) : mish_as<float>(x);
}

// As a module it can stand in a Sequential.
class MishModule : public kg::nn::Module {
 public:
  kg::Tensor forward(const kg::Tensor& x) override { return mish(x); }
  std::string_view type_name() const override { return "Mish"; }
};

bool gradient_is_right(kg::Device device) {
  kg::Tensor x = kg::Tensor::from<double>({-30, -5, -2.9, -1.2, -0.4, 0, 0.7, 2.9, 4, 30, 1}, {11}, device);
  x.set_requires_grad();
  const kg::GradcheckResult result =
      kg::gradcheck([](const std::vector<kg::Tensor>& inputs) { return mish(inputs[0]); }, {x});
  std::printf("gradient check on %s: %s, largest relative deviation %.1e%s%s\n", device.name().c_str(),
              result.passed ? "passed" : "FAILED", result.error, result.passed ? "" : ": ",
              result.message.c_str());
  return result.passed;
}

// Fits sin on [-pi, pi] by gradient descent.
void fit_a_sine(kg::Device device) {
  constexpr int points = 64;
  kg::Tensor x = kg::Tensor::empty({points, 1}), minus_sine = kg::Tensor::empty({points, 1});
  for (int i = 0; i < points; ++i) {
    x.data<float>()[i] = -3.1416f + 6.2832f * static_cast<float>(i) / (points - 1);
    minus_sine.data<float>()[i] = -std::sin(x.data<float>()[i]);
  }
  x = x.to(device);
  minus_sine = minus_sine.to(device);
  kg::manual_seed(1);
  kg::nn::Sequential network{kg::nn::Linear(1, 16), MishModule(), kg::nn::Linear(16, 1)};
  network.to(device);
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
  const bool cuda = with_cuda && kg::cuda_is_available();
  if (!gradient_is_right(kg::Device::cpu())) return 1;
  if (cuda && !gradient_is_right(kg::Device::cuda())) return 1;
  fit_a_sine(cuda ? kg::Device::cuda() : kg::Device::cpu());
  return 0;
} catch (const kg::Error& error) {
  std::fprintf(stderr, "custom_op: %s\n", error.what());
  return 1;
}
