// Trains on what comes from standard input, for training_vs_pytorch.py.
//
// One request after another, until the end of the input; numbers are hexadecimal floats in the answers and
// may be in the requests. OPTIONS are LR MOMENTUM DAMPENING WEIGHT_DECAY NESTEROV STEP_SIZE GAMMA.
//   sgd OPTIONS EPOCHS STEPS PARAMETERS SIZE... VALUE...    then for each step of each epoch and each
//   parameter:
//                                                           0 (no gradient), or 1 and its values
//   network MODEL OPTIONS EPOCHS STEPS BATCH VALUE...       the values of the state_dict in its order,
//   counters
//                                                           left out; then per step the images and the labels
// The answer is one line per step: the learning rate, then every value.

#include <fmt/format.h>

#include <iostream>
#include <stdexcept>
#include <string>

#include "kernelgrad/kernelgrad.h"
#include "models.h"
#include "sgd.h"
#include "step_lr.h"

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

struct Options {
  mnist::SgdOptions sgd;
  mnist::StepLrOptions schedule;
  int epochs = 0, steps = 0;
};

Options read_options() {
  Options options;
  options.sgd.learning_rate = read_double();
  options.sgd.momentum = read_double();
  options.sgd.dampening = read_double();
  options.sgd.weight_decay = read_double();
  options.sgd.nesterov = read_int() != 0;
  options.schedule.step_size = read_int();
  options.schedule.gamma = read_double();
  options.epochs = read_int();
  options.steps = read_int();
  return options;
}

void print(double learning_rate, const std::vector<kg::Tensor>& tensors) {
  std::string line = fmt::format("{:a}", learning_rate);
  for (const kg::Tensor& tensor : tensors)
    for (const double value : tensor.detach().to_vector<double>()) line += fmt::format(" {:a}", value);
  std::cout << line << '\n';
}

void run_sgd() {
  const Options options = read_options();
  std::vector<kg::Shape> shapes(static_cast<std::size_t>(read_int()));
  for (kg::Shape& shape : shapes) shape = {read_int()};
  std::vector<kg::Tensor> parameters;
  for (const kg::Shape& shape : shapes) parameters.push_back(read_tensor(shape).set_requires_grad());
  mnist::Sgd sgd(parameters, options.sgd);
  mnist::StepLr schedule(sgd, options.schedule);
  for (int epoch = 0; epoch < options.epochs; ++epoch, schedule.step())
    for (int step = 0; step < options.steps; ++step) {
      sgd.zero_grad();
      for (kg::Tensor& parameter : parameters)
        if (read_int() != 0) parameter.set_grad(read_tensor(parameter.shape()));
      sgd.step();
      print(sgd.learning_rate(), parameters);
    }
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
  mnist::Sgd sgd(network.parameters(), options.sgd);
  mnist::StepLr schedule(sgd, options.schedule);
  for (int epoch = 0; epoch < options.epochs; ++epoch, schedule.step())
    for (int step = 0; step < options.steps; ++step) {
      const kg::Tensor images = read_tensor({batch, 1, 28, 28});
      const kg::Tensor labels = read_tensor({batch}).to(kg::DType::int64);
      sgd.zero_grad();
      kg::nll_loss(network(images), labels).backward();
      sgd.step();
      print(sgd.learning_rate(), values);
    }
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
