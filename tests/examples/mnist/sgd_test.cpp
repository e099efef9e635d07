#include "sgd.h"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/ops.h"
#include "kernelgrad/random.h"

namespace mnist {
namespace {

/// torch.optim.SGD of one parameter, as its documentation's pseudocode has it.
struct Oracle {
  SgdOptions options;
  std::vector<double> w, momentum_buffer;
  bool stepped = false;

  void step(const std::vector<double>& gradient) {
    momentum_buffer.resize(w.size());
    for (std::size_t i = 0; i < w.size(); ++i) {
      double g = gradient[i];
      if (options.weight_decay != 0) g += options.weight_decay * w[i];
      if (options.momentum != 0) {
        double& b = momentum_buffer[i];
        b = stepped ? options.momentum * b + (1 - options.dampening) * g : g;
        g = options.nesterov ? g + options.momentum * b : b;
      }
      w[i] -= options.learning_rate * g;
    }
    stepped = true;
  }
};

std::vector<double> random_values(std::size_t count, std::uint32_t address) {
  kg::RandomStream random(1, kg::RandomPurpose::user, address);
  std::vector<double> values(count);
  // Numbers of few bits: equal in float32 and float64.
  for (double& value : values) value = (static_cast<double>(random.below(2001)) - 1000) / 1024;
  return values;
}

const std::vector<kg::Shape> shapes = {{7}, {3, 5, 2}, {}, {1}};

/// A parameter of Sgd's beside what it should be.
struct Pair {
  kg::Tensor parameter;
  Oracle oracle;

  void give_gradient(std::uint32_t address) {
    gradient = random_values(oracle.w.size(), address);
    parameter.set_grad(kg::Tensor::from(gradient, parameter.shape()).to(parameter.dtype()));
  }
  std::vector<double> gradient;
};

std::vector<Pair> pairs_of(const SgdOptions& options, kg::DType dtype) {
  std::vector<Pair> pairs;
  for (const kg::Shape& shape : shapes) {
    const auto number = static_cast<std::uint32_t>(pairs.size());
    const std::vector<double> w = random_values(static_cast<std::size_t>(kg::numel(shape)), 1000 + number);
    kg::Tensor parameter = kg::Tensor::from(w, shape).to(dtype);
    parameter.set_requires_grad();
    pairs.push_back({parameter, {.options = options, .w = w, .momentum_buffer = {}}, {}});
  }
  return pairs;
}

std::vector<kg::Tensor> parameters_of(const std::vector<Pair>& pairs) {
  std::vector<kg::Tensor> parameters;
  for (const Pair& pair : pairs) parameters.push_back(pair.parameter);
  return parameters;
}

void check_equal(const Pair& pair) {
  const double tolerance = pair.parameter.dtype() == kg::DType::float64 ? 1e-14 : 1e-5;
  const std::vector<double> actual = pair.parameter.detach().to(kg::DType::float64).to_vector<double>();
  for (std::size_t i = 0; i < actual.size(); ++i) CHECK(std::abs(actual[i] - pair.oracle.w[i]) <= tolerance);
}

std::vector<SgdOptions> option_table() {
  std::vector<SgdOptions> table;
  for (const double momentum : {0.0, 0.5, 0.9})
    for (const double dampening : {0.0, 0.3})
      for (const double weight_decay : {0.0, 0.1})
        table.push_back({.learning_rate = 0.25,
                         .momentum = momentum,
                         .dampening = dampening,
                         .weight_decay = weight_decay});
  for (const double weight_decay : {0.0, 0.1})
    table.push_back({.learning_rate = 0.25, .momentum = 0.9, .weight_decay = weight_decay, .nesterov = true});
  return table;
}

TEST_CASE("Sgd follows the formula over several steps", "[sgd]") {
  for (const kg::DType dtype : {kg::DType::float64, kg::DType::float32})
    for (const SgdOptions& options : option_table()) {
      INFO(kg::name_of(dtype) << ", momentum " << options.momentum << ", dampening " << options.dampening
                              << ", weight decay " << options.weight_decay << ", nesterov "
                              << options.nesterov);
      std::vector<Pair> pairs = pairs_of(options, dtype);
      Sgd sgd(parameters_of(pairs), options);
      for (std::uint32_t step = 0; step < 6; ++step) {
        if (step == 3) sgd.set_learning_rate(0.125);
        for (std::size_t p = 0; p < pairs.size(); ++p) {
          if (step == 3) pairs[p].oracle.options.learning_rate = 0.125;
          pairs[p].give_gradient(step * 10 + static_cast<std::uint32_t>(p));
          pairs[p].oracle.step(pairs[p].gradient);
        }
        sgd.step();
        for (const Pair& pair : pairs) check_equal(pair);
      }
    }
}

TEST_CASE("Sgd leaves a parameter without a gradient alone, and its velocity too", "[sgd]") {
  const SgdOptions options{.learning_rate = 0.25, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.1};
  std::vector<Pair> pairs = pairs_of(options, kg::DType::float64);
  Sgd sgd(parameters_of(pairs), options);
  for (std::uint32_t step = 0; step < 8; ++step) {
    sgd.zero_grad();
    for (std::size_t p = 0; p < pairs.size(); ++p) {
      // Parameter p comes in at step p and then misses every third: its first step is not Sgd's.
      if (step < p || (step + p) % 3 == 2) continue;
      pairs[p].give_gradient(step * 10 + static_cast<std::uint32_t>(p));
      pairs[p].oracle.step(pairs[p].gradient);
    }
    sgd.step();
    for (const Pair& pair : pairs) check_equal(pair);
  }
}

TEST_CASE("Sgd steps what backward() left, zero_grad clears it", "[sgd]") {
  kg::Tensor w = kg::Tensor::from(std::vector<float>{1, -2, 4}, {3});
  w.set_requires_grad();
  Sgd sgd({w}, {.learning_rate = 0.5});
  for (int step = 0; step < 2; ++step) {
    sgd.zero_grad();
    CHECK_FALSE(w.grad().defined());
    kg::sum(w * w).backward();
    sgd.step();
    // w -= 0.5 * 2 w
    CHECK(w.to_vector<float>() == std::vector<float>{0, 0, 0});
  }
  CHECK(w.requires_grad());
  CHECK(w.is_leaf());
}

TEST_CASE("Sgd refuses options that mean nothing", "[sgd]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto error = [](const SgdOptions& options) { return error_of([&] { Sgd({}, options); }); };
  for (const double bad : {-1e-9, -1.0, nan}) {
    CHECK(contains(error({.learning_rate = bad}), "learning_rate"));
    CHECK(contains(error({.momentum = bad}), "momentum"));
    CHECK(contains(error({.weight_decay = bad}), "weight_decay"));
  }
  CHECK(contains(error({.nesterov = true}), "nesterov needs momentum"));
  CHECK(contains(error({.momentum = 0.9, .dampening = 0.1, .nesterov = true}), "nesterov"));
  CHECK(error({.learning_rate = 0, .momentum = 0.9, .nesterov = true}) == "nothing was thrown");
}

}  // namespace
}  // namespace mnist
