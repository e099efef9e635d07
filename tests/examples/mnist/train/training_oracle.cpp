// SPDX-License-Identifier: MIT
// Trains on what comes from standard input, for training_vs_pytorch.py.
//
// One request after another, until the end of the input; numbers are hexadecimal floats in the answers and
// may be in the requests.
//   sgd OPTIONS PARAMETERS SIZE... VALUE...   then for each step of each epoch and each parameter:
//                                             0 (no gradient), or 1 and its values;
//                                             and after the steps of an epoch its test loss
//   network MODEL OPTIONS BATCH VALUE...      the values of the state_dict in its order, counters left out;
//                                             then per step the images and the labels, and per epoch the loss
// OPTIONS are LR MOMENTUM DAMPENING WEIGHT_DECAY NESTEROV SCHEDULE EPOCHS STEPS; SCHEDULE is one of
//   constant
//   step STEP_SIZE GAMMA
//   plateau FACTOR PATIENCE THRESHOLD MIN_LR
//   cycle PCT_START DIV_FACTOR FINAL_DIV_FACTOR BASE_MOMENTUM MAX_MOMENTUM batch|epoch
// The answer is one line per step: learning rate, momentum, then every value.

#include <fmt/format.h>

#include <iostream>
#include <stdexcept>
#include <string>

#include "kernelgrad/kernelgrad.h"
#include "kernelgrad/training/schedules.h"
#include "kernelgrad/training/sgd.h"
#include "models/recipe.h"

namespace {

std::string read_word() {
  std::string word;
  if (!(std::cin >> word)) throw std::runtime_error("training_oracle: malformed request");
  return word;
}

int read_int() { return std::stoi(read_word()); }
double read_double() { return std::stod(read_word()); }

kg::Tensor read_tensor(const kg::Shape& shape) {
  kg::Tensor tensor = kg::Tensor::empty(shape, {.dtype = kg::DType::float64});
  for (double& value : tensor.span<double>()) value = read_double();
  return tensor;
}

kg::training::Schedule read_schedule() {
  const std::string kind = read_word();
  if (kind == "constant") return {};
  // Braces evaluate what they hold from left to right.
  if (kind == "step") return kg::training::StepLrOptions{.step_size = read_int(), .gamma = read_double()};
  if (kind == "plateau")
    return kg::training::ReduceLrOnPlateauOptions{
        .factor = read_double(), .patience = read_int(), .threshold = read_double(), .min_lr = read_double()};
  if (kind == "cycle")
    return kg::training::OneCycleLrOptions{
        .pct_start = read_double(),
        .div_factor = read_double(),
        .final_div_factor = read_double(),
        .base_momentum = read_double(),
        .max_momentum = read_double(),
        .step = read_word() == "epoch" ? kg::training::StepEvery::epoch : kg::training::StepEvery::batch};
  throw std::runtime_error("training_oracle: unknown schedule " + kind);
}

struct Options {
  kg::training::SgdOptions sgd;
  kg::training::Schedule schedule;
  int epochs = 0, steps = 0;
};

Options read_options() {
  Options options;
  options.sgd.learning_rate = read_double();
  options.sgd.momentum = read_double();
  options.sgd.dampening = read_double();
  options.sgd.weight_decay = read_double();
  options.sgd.nesterov = read_int() != 0;
  options.schedule = read_schedule();
  options.epochs = read_int();
  options.steps = read_int();
  return options;
}

void print(const kg::training::Sgd& sgd, const std::vector<kg::Tensor>& tensors) {
  std::string line = fmt::format("{:a} {:a}", sgd.learning_rate(), sgd.momentum());
  for (const kg::Tensor& tensor : tensors)
    for (const double value : tensor.detach().to_vector<double>()) line += fmt::format(" {:a}", value);
  std::cout << line << '\n';
}

/// Calls make_gradients() before each step, and prints the state after it.
template <class MakeGradients>
void train(const std::vector<kg::Tensor>& parameters, const Options& options,
           const MakeGradients& make_gradients, const std::vector<kg::Tensor>& state) {
  kg::training::Sgd sgd(parameters, options.sgd);
  const auto scheduler =
      kg::training::make_scheduler(options.schedule, sgd, std::int64_t{options.epochs} * options.steps);
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    for (int step = 0; step < options.steps; ++step) {
      sgd.zero_grad();
      make_gradients();
      sgd.step();
      print(sgd, state);
      scheduler->after_batch();
    }
    scheduler->after_epoch(read_double());
  }
}

void run_sgd() {
  const Options options = read_options();
  std::vector<kg::Shape> shapes(static_cast<std::size_t>(read_int()));
  for (kg::Shape& shape : shapes) shape = {read_int()};
  std::vector<kg::Tensor> parameters;
  for (const kg::Shape& shape : shapes) parameters.push_back(read_tensor(shape).set_requires_grad());
  const auto read_gradients = [&] {
    for (kg::Tensor& parameter : parameters)
      if (read_int() != 0) parameter.set_grad(read_tensor(parameter.shape()));
  };
  train(parameters, options, read_gradients, parameters);
}

void switch_dropout_off(const kg::nn::Module& module) {
  for (const auto& [name, child] : module.children()) {
    if (child->type_name() == "Dropout") child->eval();
    switch_dropout_off(*child);
  }
}

void run_network() {
  kg::nn::Sequential network = mnist::find_recipe(read_word()).network();
  const Options options = read_options();
  const int batch = read_int();
  network.to(kg::DType::float64);
  switch_dropout_off(network);
  std::vector<kg::Tensor> values;
  for (const kg::nn::NamedTensor& entry : network.state_dict())
    if (kg::is_floating_point(entry.tensor.dtype())) values.push_back(entry.tensor);
  for (kg::Tensor& tensor : values) tensor.copy_from(read_tensor(tensor.shape()));
  const auto go_backward = [&] {
    const kg::Tensor images = read_tensor({batch, 1, 28, 28});
    const kg::Tensor labels = read_tensor({batch}).to(kg::DType::int64);
    kg::nll_loss(network(images), labels).backward();
  };
  train(network.parameters(), options, go_backward, values);
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string request; std::cin >> request;) {
    if (request == "sgd")
      run_sgd();
    else if (request == "network")
      run_network();
    else
      throw std::runtime_error("training_oracle: unknown request " + request);
  }
}
