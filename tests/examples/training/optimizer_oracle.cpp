// SPDX-License-Identifier: MIT
// Takes steps of an optimizer with the gradients that come from standard input, for optimizers_vs_pytorch.py.
//
// One request after another, until the end of the input:
//   KIND DTYPE OPTIONS SIZES VALUES STEPS      then for each step its learning rate and, for each parameter,
//                                              0 (no gradient), or 1 and its values
// KIND is sgd, adam or adamw; DTYPE float32 or float64; OPTIONS five numbers:
//   sgd          LR MOMENTUM DAMPENING WEIGHT_DECAY NESTEROV
//   adam, adamw  LR BETA1 BETA2 EPSILON WEIGHT_DECAY
// SIZES is how many parameters there are, and their sizes. The answer is one line of all values per step. In
// the middle another optimizer takes over, with what the first one's state() says.

#include <fmt/format.h>

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

#include "kernelgrad/kernelgrad.h"
#include "kernelgrad/training/adam.h"
#include "kernelgrad/training/sgd.h"

namespace {

using namespace kg::training;

std::string read_word() {
  std::string word;
  if (!(std::cin >> word)) throw std::runtime_error("optimizer_oracle: malformed request");
  return word;
}

int read_int() { return std::stoi(read_word()); }
double read_double() { return std::stod(read_word()); }

kg::Tensor read_tensor(std::int64_t size, kg::DType dtype) {
  kg::Tensor tensor = kg::Tensor::empty({size}, {.dtype = kg::DType::float64});
  for (double& value : tensor.span<double>()) value = read_double();
  return tensor.to(dtype);
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& kind, const std::vector<double>& numbers,
                                          const std::vector<kg::Tensor>& parameters) {
  const double lr = numbers[0], a = numbers[1], b = numbers[2], c = numbers[3], d = numbers[4];
  if (kind == "sgd")
    return std::make_unique<Sgd>(
        parameters,
        SgdOptions{
            .learning_rate = lr, .momentum = a, .dampening = b, .weight_decay = c, .nesterov = d != 0});
  if (kind == "adam")
    return std::make_unique<Adam>(
        parameters,
        AdamOptions{.learning_rate = lr, .beta1 = a, .beta2 = b, .epsilon = c, .weight_decay = d});
  return std::make_unique<AdamW>(
      parameters, AdamWOptions{.learning_rate = lr, .beta1 = a, .beta2 = b, .epsilon = c, .weight_decay = d});
}

void print(const std::vector<kg::Tensor>& tensors) {
  for (const kg::Tensor& tensor : tensors)
    for (const double value : tensor.detach().to(kg::DType::float64).to_vector<double>())
      std::cout << fmt::format("{:a} ", value);
  std::cout << '\n';
}

void run(const std::string& kind) {
  const kg::DType dtype = read_word() == "float32" ? kg::DType::float32 : kg::DType::float64;
  std::vector<double> numbers(5);
  for (double& number : numbers) number = read_double();
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(read_int()));
  for (std::int64_t& size : sizes) size = read_int();
  std::vector<kg::Tensor> parameters;
  for (const std::int64_t size : sizes) parameters.push_back(read_tensor(size, dtype).set_requires_grad());
  std::unique_ptr<Optimizer> optimizer = make_optimizer(kind, numbers, parameters);
  const int steps = read_int();
  for (int step = 0; step < steps; ++step) {
    if (step == steps / 2) {
      const kg::nn::StateDict state = optimizer->state();
      optimizer = make_optimizer(kind, numbers, parameters);
      optimizer->restore(state);
    }
    optimizer->set_learning_rate(read_double());
    optimizer->zero_grad();
    for (kg::Tensor& parameter : parameters)
      if (read_int() != 0) parameter.set_grad(read_tensor(parameter.numel(), dtype));
    optimizer->step();
    print(parameters);
  }
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string request; std::cin >> request;) run(request);
}
