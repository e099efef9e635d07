// SPDX-License-Identifier: MIT
// Runs the problems that compare.py makes and writes what comes out: run_problems FROM TO
//
// Both are checkpoints. A problem has a number, a line of metadata under that number, "conv2d 2 1 ..." (the
// operation and its options), and tensors "NUMBER.input", "NUMBER.weight", ... . For each tensor a result
// "NUMBER.grad_input", ... is written, and "NUMBER.output". The gradients are those of the sum of the output
// times "NUMBER.direction".

#include <functional>
#include <iostream>
#include <map>
#include <sstream>

#include "cases/elementwise.h"
#include "kernelgrad/kernelgrad.h"

namespace {

using kg::Pair;
using kg::Tensor;

/// The tensors and options of one problem.
class Problem {
 public:
  Problem(std::map<std::string, Tensor> tensors, const std::string& text)
      : tensors_(std::move(tensors)), options_(text) {
    options_ >> operation_;
  }

  const std::string& operation() const { return operation_; }
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  /// Undefined if there is none.
  Tensor tensor(const std::string& name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? Tensor() : found->second;
  }

  double number() {
    double value = 0;
    if (!(options_ >> value)) throw kg::Error("run_problems: an option of " + operation_ + " is missing");
    return value;
  }
  std::int64_t integer() { return static_cast<std::int64_t>(number()); }
  Pair pair() {
    const std::int64_t h = integer();
    return {h, integer()};
  }

 private:
  std::map<std::string, Tensor> tensors_;
  std::istringstream options_;
  std::string operation_;
};

Tensor compute(Problem& p) {
  const Tensor input = p.tensor("input");
  const std::string& operation = p.operation();
  if (operation == "conv2d") {
    kg::Conv2dOptions options;
    options.stride = p.pair();
    options.padding = p.pair();
    options.dilation = p.pair();
    options.groups = p.integer();
    return conv2d(input, p.tensor("weight"), p.tensor("bias"), options);
  }
  if (operation == "conv_transpose2d") {
    kg::ConvTranspose2dOptions options;
    options.stride = p.pair();
    options.padding = p.pair();
    options.output_padding = p.pair();
    options.dilation = p.pair();
    options.groups = p.integer();
    return conv_transpose2d(input, p.tensor("weight"), p.tensor("bias"), options);
  }
  if (operation == "batch_norm") {
    kg::BatchNormOptions options;
    options.training = p.integer() != 0;
    options.momentum = p.number();
    options.epsilon = p.number();
    return batch_norm(input, p.tensor("weight"), p.tensor("bias"), p.tensor("running_mean"),
                      p.tensor("running_var"), options);
  }
  if (operation == "max_pool2d" || operation == "avg_pool2d") {
    const Pair kernel = p.pair();
    kg::PoolOptions options;
    options.stride = p.pair();
    options.padding = p.pair();
    if (operation == "max_pool2d") return max_pool2d(input, kernel, options);
    options.count_include_pad = p.integer() != 0;
    return avg_pool2d(input, kernel, options);
  }
  if (operation == "linear") return linear(input, p.tensor("weight"), p.tensor("bias"));
  if (operation == "loss")
    return nll_loss(log_softmax(input), p.tensor("labels"),
                    p.integer() ? kg::Reduction::mean : kg::Reduction::sum);
  if (operation == "cross_entropy")
    return cross_entropy(input, p.tensor("labels"), p.integer() ? kg::Reduction::mean : kg::Reduction::sum);
  for (const kg::cases::Unary& c : kg::cases::unary)
    if (operation == c.name && !p.tensor("weight").defined()) return c.function(input);
  for (const kg::cases::Binary& c : kg::cases::binary)
    if (operation == c.name) return c.function(input, p.tensor("weight"));
  throw kg::Error("run_problems: unknown operation " + operation);
}

void run(const std::string& number, Problem problem, kg::nn::StateDict& results) {
  for (auto [name, tensor] : problem.tensors())
    if (name == "input" || name == "weight" || name == "bias") tensor.set_requires_grad();
  const Tensor output = compute(problem);
  output.backward(problem.tensor("direction"));
  results.push_back({number + ".output", output.detach()});
  for (const auto& [name, tensor] : problem.tensors()) {
    if (tensor.grad().defined()) results.push_back({number + ".grad_" + name, tensor.grad()});
    if (name.starts_with("running_")) results.push_back({number + "." + name, tensor});
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: run_problems FROM TO\n";
    return 2;
  }
  try {
    const kg::Checkpoint problems = kg::load_checkpoint(argv[1]);
    std::map<std::string, std::map<std::string, Tensor>> tensors;
    for (const auto& [name, tensor] : problems.tensors) {
      const std::size_t dot = name.find('.');
      tensors[name.substr(0, dot)][name.substr(dot + 1)] = tensor;
    }
    kg::Checkpoint results;
    for (const auto& [number, text] : problems.metadata)
      run(number, Problem(tensors[number], text), results.tensors);
    kg::save_checkpoint(argv[2], results);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
