// SPDX-License-Identifier: MIT
#include "kernelgrad/training/sgd.h"

#include <cmath>
#include <limits>
#include <vector>

#include "catch.h"
#include "error_of.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/graph.h"
#include "kernelgrad/ops.h"
#include "kernelgrad/random.h"
#include "support.h"

namespace kg::training {
namespace {

using testing::contains;
using testing::error_of;

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
  RandomStream random(1, RandomPurpose::user, address);
  std::vector<double> values(count);
  // Numbers of few bits: equal in float32 and float64.
  for (double& value : values) value = (static_cast<double>(random.below(2001)) - 1000) / 1024;
  return values;
}

std::vector<double> magnitudes(std::vector<double> values) {
  for (double& value : values) value = std::abs(value);
  return values;
}

/// On CUDA a block of threads takes 512 float32 or 256 float64 elements: none, some, exactly so many, more.
const std::vector<Shape> shapes = {{7}, {3, 5, 2}, {}, {1}, {4, 128}, {2, 512}, {513}, {0}};

/// A parameter of Sgd's beside what it should be, and beside the terms that this is the sum of.
struct Pair {
  Tensor parameter;
  Oracle oracle, terms;

  void step(const SgdOptions& options) {
    oracle.options = terms.options = options;
    oracle.step(gradient);
    // All terms are positive, and none is subtracted.
    terms.options.learning_rate = -options.learning_rate;
    terms.step(magnitudes(gradient));
  }

  void give_gradient(std::uint32_t address) {
    gradient = random_values(oracle.w.size(), address);
    parameter.set_grad(
        testing::from_doubles(gradient, parameter.shape(), parameter.dtype(), parameter.device()));
  }
  std::vector<double> gradient;
};

std::vector<Pair> pairs_of(const SgdOptions& options, DType dtype, Device device) {
  std::vector<Pair> pairs;
  for (const Shape& shape : shapes) {
    const auto number = static_cast<std::uint32_t>(pairs.size());
    const std::vector<double> w = random_values(static_cast<std::size_t>(numel(shape)), 1000 + number);
    Tensor parameter = testing::from_doubles(w, shape, dtype, device);
    parameter.set_requires_grad();
    pairs.push_back({parameter,
                     {.options = options, .w = w, .momentum_buffer = {}},
                     {.options = options, .w = magnitudes(w), .momentum_buffer = {}},
                     {}});
  }
  return pairs;
}

std::vector<Tensor> parameters_of(const std::vector<Pair>& pairs) {
  std::vector<Tensor> parameters;
  for (const Pair& pair : pairs) parameters.push_back(pair.parameter);
  return parameters;
}

void check_equal(const Pair& pair) {
  const double tolerance = pair.parameter.dtype() == DType::float64 ? 1e-15 : 5e-7;
  CHECK(testing::difference(pair.parameter, {pair.parameter.shape(), pair.oracle.w, pair.terms.w},
                            tolerance) == "");
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

std::string describe(const SgdOptions& options) {
  std::ostringstream text;
  text << "momentum " << options.momentum << ", dampening " << options.dampening << ", weight decay "
       << options.weight_decay << ", nesterov " << options.nesterov;
  return text.str();
}

void check_against_oracle(const SgdOptions& options, DType dtype, Device device) {
  INFO(device.name() << ", " << name_of(dtype) << ", " << describe(options));
  std::vector<Pair> pairs = pairs_of(options, dtype, device);
  Sgd sgd(parameters_of(pairs), options);
  for (std::uint32_t step = 0; step < 6; ++step) {
    SgdOptions changed = options;
    if (step >= 3) {
      changed.learning_rate = 0.125;
      sgd.set_learning_rate(changed.learning_rate);
    }
    if (step >= 2 && options.momentum != 0) {
      changed.momentum = 0.75;
      sgd.set_momentum(changed.momentum);
    }
    for (std::size_t p = 0; p < pairs.size(); ++p) {
      pairs[p].give_gradient(step * 10 + static_cast<std::uint32_t>(p));
      pairs[p].step(changed);
    }
    sgd.step();
    for (const Pair& pair : pairs) check_equal(pair);
  }
}

TEST_CASE("Sgd follows the formula over several steps", "[sgd]") {
  for (const Device device : testing::devices())
    for (const DType dtype : {DType::float64, DType::float32})
      for (const SgdOptions& options : option_table()) check_against_oracle(options, dtype, device);
}

TEST_CASE("Sgd leaves a parameter without a gradient alone, and its velocity too", "[sgd]") {
  const SgdOptions options{.learning_rate = 0.25, .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.1};
  for (const Device device : testing::devices()) {
    INFO(device.name());
    std::vector<Pair> pairs = pairs_of(options, DType::float64, device);
    Sgd sgd(parameters_of(pairs), options);
    for (std::uint32_t step = 0; step < 8; ++step) {
      sgd.zero_grad();
      for (std::size_t p = 0; p < pairs.size(); ++p) {
        // Parameter p comes in at step p and then misses every third: its first step is not Sgd's.
        if (step < p || (step + p) % 3 == 2) continue;
        pairs[p].give_gradient(step * 10 + static_cast<std::uint32_t>(p));
        pairs[p].step(options);
      }
      sgd.step();
      for (const Pair& pair : pairs) check_equal(pair);
    }
  }
}

TEST_CASE("Sgd steps what backward() left, zero_grad clears it", "[sgd]") {
  Tensor w = Tensor::from(std::vector<float>{1, -2, 4}, {3});
  w.set_requires_grad();
  Sgd sgd({w}, {.learning_rate = 0.5});
  for (int step = 0; step < 2; ++step) {
    sgd.zero_grad();
    CHECK_FALSE(w.grad().defined());
    sum(w * w).backward();
    sgd.step();
    // w -= 0.5 * 2 w
    CHECK(w.to_vector<float>() == std::vector<float>{0, 0, 0});
  }
  CHECK(w.requires_grad());
  CHECK(w.is_leaf());
}

Tensor random_tensor(const Shape& shape, DType dtype, std::uint32_t address) {
  // Unlike random_values() of many bits: what is rounded differently shows.
  RandomStream random(2, RandomPurpose::user, address);
  std::vector<double> values(static_cast<std::size_t>(numel(shape)));
  for (double& value : values) value = random.uniform(-1, 1);
  return testing::from_doubles(values, shape, dtype);
}

/// One set of parameters on each device, with an Sgd for each.
struct Twins {
  std::vector<Tensor> on_cpu, on_cuda;
  Sgd cpu, cuda;

  static std::vector<Tensor> parameters(std::size_t count, Device device) {
    std::vector<Tensor> tensors;
    for (std::size_t i = 0; i < count; ++i) {
      // Both dtypes in one optimizer.
      const DType dtype = i % 5 == 4 ? DType::float64 : DType::float32;
      const auto address = static_cast<std::uint32_t>(1000 + i);
      tensors.push_back(random_tensor(shapes[i % shapes.size()], dtype, address).to(device));
      tensors.back().set_requires_grad();
    }
    return tensors;
  }
  Twins(std::size_t count, const SgdOptions& options)
      : on_cpu(parameters(count, Device::cpu())),
        on_cuda(parameters(count, Device::cuda())),
        cpu(on_cpu, options),
        cuda(on_cuda, options) {}

  void set_gradient(std::size_t i, std::uint32_t address) {
    const Tensor gradient = random_tensor(on_cpu[i].shape(), on_cpu[i].dtype(), address);
    on_cpu[i].set_grad(gradient);
    // Into the same memory, where there is some: a recorded step knows no other.
    if (on_cuda[i].grad().defined())
      on_cuda[i].grad().copy_from(gradient);
    else
      on_cuda[i].set_grad(gradient.to(Device::cuda()));
  }
  /// The momentum, if there is one.
  void set_rates(double learning_rate, double momentum) {
    for (Sgd* sgd : {&cpu, &cuda}) {
      sgd->set_learning_rate(learning_rate);
      if (sgd->momentum() != 0) sgd->set_momentum(momentum);
    }
  }
  void check_equal() const {
    for (std::size_t i = 0; i < on_cpu.size(); ++i) {
      INFO("parameter " << i);
      CHECK(testing::same_bits(on_cuda[i], on_cpu[i]));
      CHECK(testing::same_bits(cuda.velocity(i), cpu.velocity(i)));
    }
  }
};

TEST_CASE("Sgd's steps on cuda are those on the CPU, bit for bit", "[sgd]") {
  if (!cuda_is_available()) return;
  for (const SgdOptions& options : option_table()) {
    INFO(describe(options));
    Twins twins(2 * shapes.size(), options);
    for (std::uint32_t step = 0; step < 4; ++step) {
      if (step == 2) twins.set_rates(0.1, 0.85);
      for (std::size_t i = 0; i < twins.on_cpu.size(); ++i)
        twins.set_gradient(i, static_cast<std::uint32_t>(step * 100 + i));
      twins.cpu.step();
      twins.cuda.step();
    }
    twins.check_equal();
  }
}

TEST_CASE("Sgd takes more parameters than one launch does", "[sgd]") {
  if (!cuda_is_available()) return;
  for (const std::size_t count : {96u * 5 / 4, 96u * 5 / 4 + 1, 301u}) {
    INFO(count << " parameters");
    Twins twins(count, {.learning_rate = 0.1, .momentum = 0.9});
    for (std::uint32_t step = 0; step < 2; ++step) {
      for (std::size_t i = 0; i < count; ++i)
        twins.set_gradient(i, static_cast<std::uint32_t>(step * 1000 + i));
      twins.cpu.step();
      twins.cuda.step();
    }
    twins.check_equal();
  }
}

TEST_CASE("a recorded step of Sgd can be replayed from the first on, at any learning rate and momentum",
          "[sgd]") {
  if (!cuda_is_available()) return;
  for (const SgdOptions& options : option_table()) {
    INFO(describe(options));
    Twins twins(shapes.size(), options);
    for (std::size_t i = 0; i < shapes.size(); ++i) twins.set_gradient(i, 0);
    Graph graph([&] { twins.cuda.step(); });
    for (std::uint32_t step = 0; step < 3; ++step) {
      twins.set_rates(1.0 / (2 + step), 1.0 / (3 + step));
      for (std::size_t i = 0; i < shapes.size(); ++i)
        twins.set_gradient(i, static_cast<std::uint32_t>(step * 100 + i));
      twins.cpu.step();
      graph.replay();
      twins.check_equal();
    }
  }
}

TEST_CASE("a step of Sgd between forward and backward is an error, recorded or not", "[sgd]") {
  for (const Device device : testing::devices()) {
    INFO(device.name());
    Tensor weight = testing::random({3, 4}, DType::float32, 1, device).set_requires_grad();
    const Tensor input = testing::random({2, 4}, DType::float32, 2, device).set_requires_grad();
    Sgd sgd({weight}, {.learning_rate = 0.1, .momentum = 0.9});
    const auto check_overwritten = [&](const auto& step) {
      const Tensor loss = sum(linear(input, weight));
      step();
      testing::check_error([&] { loss.backward(); }, {"linear: weight", "overwritten"});
    };
    weight.set_grad(Tensor::ones({3, 4}, {.device = device}));
    check_overwritten([&] { sgd.step(); });
    const std::uint64_t velocity = sgd.velocity(0).version();
    sgd.step();
    CHECK(sgd.velocity(0).version() == velocity + 1);
    if (!device.is_cuda()) continue;
    Graph graph([&] { sgd.step(); });
    check_overwritten([&] { graph.replay(); });
  }
}

TEST_CASE("Sgd follows parameters to cuda before their first step, and not after it", "[sgd]") {
  if (!cuda_is_available()) return;
  const auto move = [](Tensor parameter, Device device) {
    parameter.set_data(parameter.detach().to(device));
  };
  const Tensor start = random_tensor({5}, DType::float32, 1), slope = random_tensor({5}, DType::float32, 2);
  std::vector<Tensor> results;
  for (const Device device : {Device::cpu(), Device::cuda()}) {
    Tensor w = start.clone().set_requires_grad();
    Sgd sgd({w}, {.learning_rate = 0.1, .momentum = 0.9});
    sgd.set_learning_rate(0.2);
    move(w, device);
    w.set_grad(slope.to(device));
    sgd.step();
    results.push_back(w.detach().to(Device::cpu()));

    const Device other = device.is_cpu() ? Device::cuda() : Device::cpu();
    move(w, other);
    w.set_grad(slope.to(other));
    CHECK(contains(error_of([&] { sgd.step(); }), "moved to another device"));
  }
  CHECK(testing::same_bits(results[0], results[1]));
}

TEST_CASE("Sgd refuses a change of momentum from or to none", "[sgd]") {
  Sgd with({}, {.learning_rate = 0.1, .momentum = 0.9}), without({}, {.learning_rate = 0.1});
  for (const double bad : {0.0, -0.5, std::numeric_limits<double>::quiet_NaN()})
    CHECK(contains(error_of([&] { with.set_momentum(bad); }), "momentum is set from 0.9 to "));
  CHECK(contains(error_of([&] { without.set_momentum(0.9); }), "momentum is set from 0 to 0.9"));
  CHECK(with.momentum() == 0.9);
  CHECK(without.momentum() == 0);
}

TEST_CASE("Sgd refuses options that mean nothing", "[sgd]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto error = [](const SgdOptions& options) { return error_of([&] { Sgd({}, options); }); };
  for (const double bad : {-1e-9, -1.0, nan}) {
    CHECK(contains(error({.learning_rate = bad}), "learning_rate is "));
    CHECK(contains(error({.momentum = bad}), "momentum is "));
    CHECK(contains(error({.momentum = 0.9, .dampening = bad}), "dampening is "));
    CHECK(contains(error({.weight_decay = bad}), "weight_decay is "));
  }
  CHECK(contains(error({.nesterov = true}), "nesterov needs momentum"));
  CHECK(contains(error({.momentum = 0.9, .dampening = 0.1, .nesterov = true}), "nesterov"));
  CHECK(error({.learning_rate = 0, .momentum = 0.9, .nesterov = true}) == "nothing was thrown");
}

TEST_CASE("Sgd that is given another's velocities goes on as that one", "[sgd]") {
  const SgdOptions options{.learning_rate = 0.1, .momentum = 0.9, .dampening = 0.25, .weight_decay = 0.01};
  for (const Device device : testing::devices())
    for (const DType dtype : {DType::float32, DType::float64}) {
      INFO(device.name() << " " << name_of(dtype));
      std::vector<Pair> first = pairs_of(options, dtype, device), second = pairs_of(options, dtype, device);
      Sgd sgd(parameters_of(first), options), successor(parameters_of(second), options);
      const auto step = [](Sgd& of, std::vector<Pair>& pairs, std::uint32_t address) {
        for (Pair& pair : pairs) pair.give_gradient(address);
        of.step();
      };
      for (std::size_t i = 0; i < first.size(); ++i)
        CHECK((first[i].parameter.numel() == 0 || !sgd.velocity(i).defined()));
      step(sgd, first, 1);
      step(sgd, first, 2);
      for (std::size_t i = 0; i < first.size(); ++i) {
        second[i].parameter.set_grad({});
        const NoGrad no_grad;
        second[i].parameter.copy_from(first[i].parameter);
        successor.set_velocity(i, sgd.velocity(i).to(Device::cpu()));
      }
      step(sgd, first, 3);
      step(successor, second, 3);
      for (std::size_t i = 0; i < first.size(); ++i) {
        CHECK(testing::same_bits(first[i].parameter, second[i].parameter));
        CHECK(testing::same_bits(sgd.velocity(i), successor.velocity(i)));
      }
    }
}

TEST_CASE("Sgd refuses a velocity that is none of its parameter's", "[sgd]") {
  Sgd without({Tensor::zeros({2})}, {.learning_rate = 0.1});
  CHECK(contains(error_of([&] { without.set_velocity(0, Tensor::zeros({2})); }), "without momentum"));
  Sgd with({Tensor::zeros({2})}, {.learning_rate = 0.1, .momentum = 0.9});
  CHECK(error_of([&] { with.set_velocity(0, Tensor::zeros({3})); }) ==
        "Sgd: the velocity of parameter 0 is float32 [3], expected float32 [2]");
}

}  // namespace
}  // namespace kg::training
