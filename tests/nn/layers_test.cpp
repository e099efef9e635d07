// SPDX-License-Identifier: MIT
#include "support.h"

namespace kg {
namespace {

using namespace testing;

/// The module's own parameter or buffer.
Tensor named(const nn::Module& module, const std::string& name) {
  return nn::find_tensor(module.state_dict(), name);
}

/// "weight [6, 2, 3, 3], bias [6]"
std::string described(const nn::StateDict& state) {
  std::string text;
  for (const auto& [name, tensor] : state)
    text += (text.empty() ? "" : ", ") + name + " " + to_string(tensor.shape());
  return text;
}

TEST_CASE("Layers have the parameters that PyTorch gives them", "[nn]") {
  CHECK(described(nn::Conv2d(4, 6, {3, 5}, {.groups = 2}).state_dict()) == "weight [6, 2, 3, 5], bias [6]");
  CHECK(described(nn::Conv2d(4, 6, 1, {.bias = false}).state_dict()) == "weight [6, 4, 1, 1]");
  CHECK(described(nn::Linear(4, 6).state_dict()) == "weight [6, 4], bias [6]");
  CHECK(described(nn::Linear(4, 6, {.bias = false}).state_dict()) == "weight [6, 4]");
  CHECK(described(nn::BatchNorm2d(3).state_dict()) ==
        "weight [3], bias [3], running_mean [3], running_var [3], num_batches_tracked []");
  CHECK(described(nn::BatchNorm2d(3).named_parameters()) == "weight [3], bias [3]");
  for (const Tensor& parameter : nn::Conv2d(4, 6, 3).parameters()) CHECK(parameter.requires_grad());
  CHECK(!named(nn::BatchNorm2d(3), "running_mean").requires_grad());
  CHECK(named(nn::BatchNorm2d(3), "num_batches_tracked").dtype() == DType::int64);
  CHECK(nn::Conv2d(4, 6, 3).parameter_count() == 6 * 4 * 9 + 6);
  for (const auto& state :
       {nn::ReLU().state_dict(), nn::Dropout().state_dict(), nn::MaxPool2d(2).state_dict(),
        nn::AvgPool2d(2).state_dict(), nn::GlobalAvgPool2d().state_dict(), nn::Flatten().state_dict(),
        nn::LogSoftmax().state_dict()})
    CHECK(state.empty());
}

/// Checks for a uniform distribution over +-bound.
void check_uniform(const Tensor& tensor, double bound) {
  const std::vector<double> values = to_doubles(tensor);
  const double count = static_cast<double>(values.size());
  double largest = 0, mean = 0, squares = 0;
  for (const double value : values) {
    largest = std::max(largest, std::abs(value));
    mean += value / count;
    squares += value * value / count;
  }
  CHECK(largest <= bound * (1 + 1e-7));
  CHECK(largest > bound * (1 - 10 / count));  // misses with probability exp(-10)
  // The variance of a uniform distribution is bound^2 / 3, that of its squares bound^4 * 4 / 45.
  CHECK(std::abs(mean) < 5 * bound / std::sqrt(3 * count));
  CHECK(std::abs(squares - bound * bound / 3) < 5 * bound * bound * std::sqrt(4 / (45 * count)));
}

TEST_CASE("Conv2d and Linear start uniform in +-1 / sqrt(fan_in)", "[nn]") {
  manual_seed(1);
  const nn::Conv2d conv(32, 64, {3, 5}, {.groups = 2});
  check_uniform(named(conv, "weight"), 1 / std::sqrt(16 * 15.0));
  check_uniform(named(conv, "bias"), 1 / std::sqrt(16 * 15.0));
  const nn::Linear linear(100, 200);
  check_uniform(named(linear, "weight"), 0.1);
  check_uniform(named(linear, "bias"), 0.1);
}

TEST_CASE("Initial values follow the seed, and differ between equal layers", "[nn]") {
  manual_seed(1);
  const nn::Conv2d first(3, 4, 3), second(3, 4, 3);
  manual_seed(1);
  const nn::Conv2d again(3, 4, 3);
  manual_seed(2);
  const nn::Conv2d other(3, 4, 3);
  CHECK(same_bits(named(first, "weight"), named(again, "weight")));
  CHECK(same_bits(named(first, "bias"), named(again, "bias")));
  CHECK(!same_bits(named(first, "weight"), named(second, "weight")));
  CHECK(!same_bits(named(first, "weight"), named(other, "weight")));
}

TEST_CASE("BatchNorm2d starts as the identity", "[nn]") {
  const nn::BatchNorm2d module(3);
  CHECK(to_doubles(named(module, "weight")) == std::vector<double>(3, 1));
  CHECK(to_doubles(named(module, "bias")) == std::vector<double>(3, 0));
  CHECK(to_doubles(named(module, "running_mean")) == std::vector<double>(3, 0));
  CHECK(to_doubles(named(module, "running_var")) == std::vector<double>(3, 1));
  CHECK(named(module, "num_batches_tracked").item() == 0);
}

TEST_CASE("Layers compute their operation", "[nn]") {
  const Tensor x = random({3, 4, 7, 6}, DType::float32, 1);
  nn::Conv2d conv(4, 6, {3, 2}, {.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}, .groups = 2});
  CHECK(same_bits(conv(x).detach(),
                  conv2d(x, named(conv, "weight"), named(conv, "bias"),
                         {.stride = {2, 1}, .padding = {1, 0}, .dilation = {1, 2}, .groups = 2})
                      .detach()));
  nn::Linear dense(6, 5);
  CHECK(same_bits(dense(x).detach(), linear(x, named(dense, "weight"), named(dense, "bias")).detach()));
  nn::ReLU rectifier;
  CHECK(same_bits(rectifier(x), relu(x)));
  nn::MaxPool2d max_pool({3, 2}, {.stride = {1, 2}, .padding = {1, 1}});
  CHECK(same_bits(max_pool(x), max_pool2d(x, {3, 2}, {.stride = {1, 2}, .padding = {1, 1}})));
  nn::AvgPool2d avg_pool(3, {.padding = 1, .count_include_pad = false});
  CHECK(same_bits(avg_pool(x), avg_pool2d(x, 3, {.padding = 1, .count_include_pad = false})));
  nn::GlobalAvgPool2d global;
  CHECK(same_bits(global(x), global_avg_pool2d(x)));
  nn::Flatten flat;
  CHECK(flat(x).shape() == Shape{3, 168});
  nn::LogSoftmax softmax;
  CHECK(same_bits(softmax(x), log_softmax(x)));
  nn::Functional twice([](const Tensor& t) { return t * 2; });
  CHECK(same_bits(twice(x), x * 2));
}

TEST_CASE("Layers have type names", "[nn]") {
  CHECK(nn::Conv2d(1, 1, 1).type_name() == "Conv2d");
  CHECK(nn::Linear(1, 1).type_name() == "Linear");
  CHECK(nn::BatchNorm2d(1).type_name() == "BatchNorm2d");
  CHECK(nn::ReLU().type_name() == "ReLU");
  CHECK(nn::Dropout().type_name() == "Dropout");
  CHECK(nn::MaxPool2d(2).type_name() == "MaxPool2d");
  CHECK(nn::AvgPool2d(2).type_name() == "AvgPool2d");
  CHECK(nn::GlobalAvgPool2d().type_name() == "GlobalAvgPool2d");
  CHECK(nn::Flatten().type_name() == "Flatten");
  CHECK(nn::LogSoftmax().type_name() == "LogSoftmax");
  CHECK(nn::Sequential().type_name() == "Sequential");
  CHECK(nn::Functional(relu).type_name() == "Functional");
}

TEST_CASE("BatchNorm2d uses and records the batch in training, the records in inference", "[nn]") {
  for (const Device device : devices()) {
    INFO(device.name());
    nn::BatchNorm2d module(3, {.epsilon = 1e-3, .momentum = 0.3});
    module.to(device);
    const Tensor x = random({4, 3, 5, 2}, DType::float32, 1, device);
    Tensor mean = Tensor::zeros({3}, {.device = device}), var = Tensor::ones({3}, {.device = device});
    const Tensor gamma = Tensor::ones({3}, {.device = device}), beta = Tensor::zeros({3}, {.device = device});
    CHECK(module.is_training());
    CHECK(same_bits(module(x).detach(), batch_norm(x, gamma, beta, mean, var,
                                                   {.training = true, .momentum = 0.3, .epsilon = 1e-3})));
    CHECK(same_bits(named(module, "running_mean"), mean));
    CHECK(same_bits(named(module, "running_var"), var));
    CHECK(named(module, "num_batches_tracked").device() == device);
    CHECK(named(module, "num_batches_tracked").item() == 1);
    module.eval();
    CHECK(same_bits(module(x).detach(), batch_norm(x, gamma, beta, mean, var, {.epsilon = 1e-3})));
    CHECK(same_bits(named(module, "running_mean"), mean));
    CHECK(named(module, "num_batches_tracked").item() == 1);
    module.train();
    module(x);
    CHECK(named(module, "num_batches_tracked").item() == 2);
  }
}

TEST_CASE("Dropout drops in training only", "[nn]") {
  nn::Dropout module(0.3);
  CHECK(module.p() == 0.3);
  const Tensor x = random({1000}, DType::float32);
  manual_seed(4);
  const Tensor expected = dropout(x, 0.3);
  manual_seed(4);
  CHECK(same_bits(module(x), expected));
  CHECK(default_generator().draws() == 1);
  module.eval();
  CHECK(same_bits(module(x), x));
  CHECK(default_generator().draws() == 1);
  CHECK(nn::Dropout().p() == 0.5);
}

TEST_CASE("Layers say what does not fit", "[nn][errors]") {
  check_error([] { nn::Conv2d(3, 4, 3, {.groups = 2}); }, {"Conv2d", "3 input", "2 groups"});
  check_error([] { nn::Conv2d(4, 3, 3, {.groups = 2}); }, {"Conv2d", "3 output", "2 groups"});
  check_error([] { nn::Conv2d(0, 4, 3); }, {"Conv2d", "0 input"});
  check_error([] { nn::Conv2d(1, -1, 3); }, {"Conv2d", "-1 output"});
  check_error([] { nn::Conv2d(1, 1, 3, {.groups = 0}); }, {"Conv2d", "0 groups"});
  check_error([] { nn::Conv2d(1, 1, {3, 0}); }, {"Conv2d", "kernel"});
  check_error([] { nn::Linear(0, 1); }, {"Linear", "0 input"});
  check_error([] { nn::Linear(1, 0); }, {"Linear", "0 output"});
  check_error([] { nn::BatchNorm2d(0); }, {"BatchNorm2d", "0 channels"});
  check_error(
      [] {
        nn::BatchNorm2d(3)(Tensor::zeros({4, 3}));
      },
      {"BatchNorm2d", "[4, 3]", "[n, channels, h, w]"});
  for (const double p : {-0.1, 1.1, std::nan("")})
    check_error([&] { nn::Dropout{p}; }, {"Dropout", "p = ", "probability"});
}

TEST_CASE("Layers refuse options out of range when they are made", "[nn][errors]") {
  constexpr std::int64_t huge = std::int64_t{1} << 40, largest = std::numeric_limits<std::int64_t>::max();
  for (const std::int64_t count : {huge, largest}) {
    check_error([&] { nn::Conv2d(count, 1, 1); }, {"Conv2d", "in_channels"});
    check_error([&] { nn::Conv2d(1, count, 1); }, {"Conv2d", "out_channels"});
    check_error([&] { nn::Linear(count, 1); }, {"Linear", "in_features"});
    check_error([&] { nn::Linear(1, count); }, {"Linear", "out_features"});
    check_error([&] { nn::BatchNorm2d{count}; }, {"BatchNorm2d", "channels"});
  }
  // One option of a pair at a time: below what it may be, and beyond.
  using Options = std::vector<Pair>;
  const auto around = [](std::int64_t smallest, std::int64_t good) {
    Options bad;
    for (const std::int64_t value : {smallest - 1, std::int64_t{-7}, huge, largest})
      bad.insert(bad.end(), {Pair{value, good}, Pair{good, value}});
    return bad;
  };
  for (const Pair& pair : around(1, 1)) {
    check_error([&] { nn::Conv2d(1, 1, pair); }, {"Conv2d", "kernel"});
    check_error([&] { nn::Conv2d(1, 1, 1, {.stride = pair}); }, {"Conv2d", "stride"});
    check_error([&] { nn::Conv2d(1, 1, 1, {.dilation = pair}); }, {"Conv2d", "dilation"});
    check_error([&] { nn::MaxPool2d{pair}; }, {"MaxPool2d", "kernel"});
    check_error([&] { nn::AvgPool2d{pair}; }, {"AvgPool2d", "kernel"});
  }
  for (const Pair& pair : around(0, 0)) {
    check_error([&] { nn::Conv2d(1, 1, 1, {.padding = pair}); }, {"Conv2d", "padding"});
    check_error([&] { nn::MaxPool2d(2, {.stride = pair}); }, {"MaxPool2d", "stride"});
    check_error([&] { nn::AvgPool2d(2, {.stride = pair}); }, {"AvgPool2d", "stride"});
    check_error([&] { nn::MaxPool2d(2, {.padding = pair}); }, {"MaxPool2d", "padding", "half the kernel"});
    check_error([&] { nn::AvgPool2d(2, {.padding = pair}); }, {"AvgPool2d", "padding", "half the kernel"});
  }
  check_error([] { nn::Conv2d(2, 2, 1, {.groups = -2}); }, {"Conv2d", "-2 groups"});
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double epsilon : {-1e-5, -infinity, infinity, std::nan("")})
    check_error([&] { nn::BatchNorm2d(3, {.epsilon = epsilon}); }, {"BatchNorm2d", "epsilon = "});
  for (const double momentum : {-0.1, 1.1, infinity, std::nan("")})
    check_error([&] { nn::BatchNorm2d(3, {.momentum = momentum}); }, {"BatchNorm2d", "momentum = "});
}

TEST_CASE("Layers take the options at the ends of their ranges", "[nn]") {
  CHECK_NOTHROW(nn::BatchNorm2d(3, {.epsilon = 0, .momentum = 0}));
  CHECK_NOTHROW(nn::BatchNorm2d(3, {.momentum = 1}));
  CHECK_NOTHROW(nn::MaxPool2d(2, {.stride = 0, .padding = 1}));
  CHECK_NOTHROW(nn::AvgPool2d({3, 1}, {.padding = {1, 0}}));
  CHECK_NOTHROW(nn::Conv2d(1, 1, 1, {.stride = 1 << 30, .padding = 1 << 30, .dilation = 1 << 30}));
  CHECK_NOTHROW(nn::Dropout(0));
  CHECK_NOTHROW(nn::Dropout(1));
}

TEST_CASE("Layers blame the input for a type that is not their weight's", "[nn][errors]") {
  const Tensor x = random({2, 3, 4, 4}, DType::float64);
  for (const bool bias : {false, true}) {
    check_error([&] { nn::Conv2d(3, 3, 1, {.bias = bias})(x); },
                {"conv2d: input is float64", "expected float32 on cpu as weight"});
    check_error([&] { nn::Linear(4, 3, {.bias = bias})(x); },
                {"linear: input is float64", "expected float32 on cpu as weight"});
  }
  check_error([&] { nn::BatchNorm2d{3}(x); },
              {"batch_norm: input is float64", "expected float32 on cpu as weight"});
}

TEST_CASE("A BatchNorm2d that fails has counted no batch", "[nn][errors]") {
  nn::BatchNorm2d module(3);
  check_error([&] { module(Tensor::zeros({2, 4, 1, 1})); }, {"batch_norm"});
  CHECK(named(module, "num_batches_tracked").item() == 0);
}

}  // namespace
}  // namespace kg
