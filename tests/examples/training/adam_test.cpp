// SPDX-License-Identifier: MIT
#include "kernelgrad/training/adam.h"

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "catch.h"
#include "error_of.h"
#include "kernelgrad/graph.h"
#include "kernelgrad/random.h"
#include "kernelgrad/training/schedules.h"
#include "support.h"

namespace kg::training {
namespace {

using testing::contains;
using testing::error_of;

/// On CUDA a block of threads takes 512 float32 or 256 float64 elements: none, some, exactly so many, more.
const std::vector<Shape> shapes = {{7}, {3, 5, 2}, {}, {4, 128}, {513}, {0}};

std::unique_ptr<Optimizer> make_optimizer(bool decoupled, std::vector<Tensor> parameters,
                                          const AdamOptions& o) {
  if (!decoupled) return std::make_unique<Adam>(std::move(parameters), o);
  return std::make_unique<AdamW>(std::move(parameters), AdamWOptions{.learning_rate = o.learning_rate,
                                                                     .beta1 = o.beta1,
                                                                     .beta2 = o.beta2,
                                                                     .epsilon = o.epsilon,
                                                                     .weight_decay = o.weight_decay});
}

std::vector<AdamOptions> option_table() {
  return {{.learning_rate = 0.1},
          {.learning_rate = 0.1, .beta1 = 0, .beta2 = 0, .epsilon = 0.5},
          {.learning_rate = 0.01, .beta1 = 0.5, .beta2 = 0.9, .epsilon = 1e-3, .weight_decay = 0.25}};
}

std::vector<Tensor> parameters_on(Device device, std::size_t count = shapes.size()) {
  std::vector<Tensor> parameters;
  for (std::size_t i = 0; i < count; ++i) {
    // Both dtypes in one optimizer.
    const DType dtype = i % 5 == 4 ? DType::float64 : DType::float32;
    parameters.push_back(testing::random(shapes[i % shapes.size()], dtype, static_cast<std::uint32_t>(i))
                             .to(device)
                             .set_requires_grad());
  }
  return parameters;
}

void set_gradient(Tensor parameter, std::uint32_t address) {
  const Tensor gradient = testing::random(parameter.shape(), parameter.dtype(), address, parameter.device());
  // Into the same memory, where there is some: a recorded step knows no other.
  if (parameter.grad().defined())
    parameter.grad().copy_from(gradient);
  else
    parameter.set_grad(gradient);
}

/// The formulas of the class comments, in double.
struct Oracle {
  AdamOptions options;
  bool decoupled;
  std::vector<double> w, m, s;
  int t = 0;

  void step(const std::vector<double>& gradient) {
    m.resize(w.size());
    s.resize(w.size());
    ++t;
    const auto& [lr, beta1, beta2, epsilon, decay] = options;
    for (std::size_t i = 0; i < w.size(); ++i) {
      double g = gradient[i];
      if (decoupled)
        w[i] -= lr * decay * w[i];
      else
        g += decay * w[i];
      m[i] = beta1 * m[i] + (1 - beta1) * g;
      s[i] = beta2 * s[i] + (1 - beta2) * g * g;
      w[i] -= lr / (1 - std::pow(beta1, t)) * m[i] /
              (std::sqrt(s[i]) / std::sqrt(1 - std::pow(beta2, t)) + epsilon);
    }
  }
};

TEST_CASE("Adam and AdamW follow the formulas, each parameter by its own count of steps", "[adam]") {
  for (const Device device : testing::devices())
    for (const bool decoupled : {false, true})
      for (const AdamOptions& options : option_table()) {
        INFO(device.name() << (decoupled ? " AdamW" : " Adam"));
        std::vector<Tensor> parameters = parameters_on(device);
        const auto optimizer = make_optimizer(decoupled, parameters, options);
        std::vector<Oracle> oracles;
        for (const Tensor& parameter : parameters)
          oracles.push_back({options, decoupled, testing::to_doubles(parameter), {}, {}});
        for (std::uint32_t step = 0; step < 9; ++step) {
          optimizer->zero_grad();
          for (std::size_t p = 0; p < parameters.size(); ++p) {
            // Parameter p comes in at step p and then misses every third.
            if (step < p || (step + p) % 3 == 2) continue;
            set_gradient(parameters[p], 100 * step + static_cast<std::uint32_t>(p));
            oracles[p].step(testing::to_doubles(parameters[p].grad()));
          }
          optimizer->step();
          for (std::size_t p = 0; p < parameters.size(); ++p) {
            const double tolerance = parameters[p].dtype() == DType::float64 ? 1e-14 : 5e-6;
            const std::vector<double> values = testing::to_doubles(parameters[p]);
            for (std::size_t i = 0; i < values.size(); ++i)
              if (!(std::abs(values[i] - oracles[p].w[i]) <= tolerance))
                FAIL("parameter " << p << ", step " << step << ": " << values[i] << ", expected "
                                  << oracles[p].w[i]);
          }
        }
      }
}

TEST_CASE("Adam's steps on cuda are those on the CPU, bit for bit, recorded or not", "[adam]") {
  if (!cuda_is_available()) return;
  for (const bool decoupled : {false, true})
    for (const bool recorded : {false, true})
      for (const AdamOptions& options : option_table()) {
        // More than one launch takes.
        std::vector<Tensor> on_cpu = parameters_on(Device::cpu(), 120), on_cuda;
        for (const Tensor& parameter : on_cpu)
          on_cuda.push_back(parameter.detach().to(Device::cuda()).set_requires_grad());
        const auto cpu = make_optimizer(decoupled, on_cpu, options),
                   cuda = make_optimizer(decoupled, on_cuda, options);
        std::optional<Graph> graph;
        for (std::uint32_t step = 0; step < 4; ++step) {
          if (step == 2)
            for (Optimizer* optimizer : {cpu.get(), cuda.get()}) {
              optimizer->set_learning_rate(0.03);
              optimizer->set_momentum(0.7);
            }
          for (std::size_t i = 0; i < on_cpu.size(); ++i)
            for (Tensor& parameter : {std::ref(on_cpu[i]), std::ref(on_cuda[i])})
              set_gradient(parameter, 1000 * step + static_cast<std::uint32_t>(i));
          cpu->step();
          if (!recorded) {
            cuda->step();
          } else {
            if (!graph) graph.emplace([&] { cuda->step(); });
            graph->replay();
          }
        }
        for (std::size_t i = 0; i < on_cpu.size(); ++i) CHECK(testing::same_bits(on_cuda[i], on_cpu[i]));
        const nn::StateDict state = cpu->state(), other = cuda->state();
        REQUIRE(state.size() >= other.size());
        for (const nn::NamedTensor& entry : other) {
          const auto same = std::ranges::find(state, entry.name, &nn::NamedTensor::name);
          REQUIRE(same != state.end());
          CHECK((entry.tensor.numel() == 0 || entry.name.starts_with("steps.") ||
                 testing::same_bits(entry.tensor, same->tensor)));
        }
      }
}

TEST_CASE("an optimizer that is given another's state goes on as that one", "[adam]") {
  for (const Device device : testing::devices())
    for (const bool decoupled : {false, true}) {
      INFO(device.name());
      std::vector<Tensor> first = parameters_on(device), second = parameters_on(device);
      const AdamOptions options = option_table().back();
      const auto optimizer = make_optimizer(decoupled, first, options),
                 successor = make_optimizer(decoupled, second, options);
      CHECK(optimizer->state().size() <= 3);  // of the parameter without elements
      const auto step = [](Optimizer& of, std::vector<Tensor>& parameters, std::uint32_t address) {
        of.zero_grad();
        // The last has no gradient.
        for (std::size_t i = 0; i + 1 < parameters.size(); ++i) set_gradient(parameters[i], address);
        of.step();
      };
      for (const std::uint32_t address : {1, 2, 3}) step(*optimizer, first, address);
      {
        const NoGrad no_grad;
        for (std::size_t i = 0; i < first.size(); ++i) second[i].copy_from(first[i]);
      }
      nn::StateDict copies;
      for (const nn::NamedTensor& entry : optimizer->state())
        copies.push_back({entry.name, entry.tensor.to(Device::cpu()).clone()});
      successor->restore(copies);
      for (const std::uint32_t address : {4, 5}) {
        step(*optimizer, first, address);
        step(*successor, second, address);
      }
      for (std::size_t i = 0; i < first.size(); ++i) CHECK(testing::same_bits(first[i], second[i]));
    }
}

TEST_CASE("an optimizer refuses a state that is none of its own", "[adam]") {
  Adam adam({Tensor::zeros({2})});
  const Tensor two = Tensor::zeros({2}), steps = Tensor::from(std::vector<std::int64_t>{1}, {});
  const auto refusal = [&](const nn::StateDict& state) { return error_of([&] { adam.restore(state); }); };
  CHECK(refusal({}) == "nothing was thrown");
  CHECK(refusal({{"mean.0", two}, {"square.0", two}}) ==
        "Adam: a part of the state of parameter 0 is missing, expected mean, square and steps");
  CHECK(contains(refusal({{"mean.0", two}, {"steps.0", steps}}), "is missing"));
  CHECK(refusal({{"mean.1", two}, {"square.1", two}, {"steps.1", steps}}) ==
        "Adam: \"mean.1\" is no part of its state, of 1 parameters");
  CHECK(refusal({{"mean.0", two}, {"square.0", Tensor::zeros({3})}, {"steps.0", steps}}) ==
        "Adam: the square of parameter 0 is float32 [3], expected float32 [2]");
  CHECK(refusal({{"mean.0", two}, {"square.0", two}, {"steps.0", steps}}) == "nothing was thrown");
}

TEST_CASE("Adam refuses options that mean nothing", "[adam]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto error = [](const AdamOptions& options) { return error_of([&] { Adam({}, options); }); };
  for (const double bad : {-1e-9, -1.0, nan}) {
    CHECK(contains(error({.learning_rate = bad}), "Adam: learning_rate is "));
    CHECK(contains(error({.beta1 = bad}), "Adam: beta1 is "));
    CHECK(contains(error({.beta2 = bad}), "Adam: beta2 is "));
    CHECK(contains(error({.epsilon = bad}), "Adam: epsilon is "));
    CHECK(contains(error({.weight_decay = bad}), "Adam: weight_decay is "));
  }
  CHECK(error({.beta1 = 1}) == "Adam: beta1 is 1, expected 0 <= beta1 < 1");
  CHECK(contains(error_of([] { AdamW({}, {.beta2 = 1}); }), "AdamW: beta2 is 1"));
  Adam adam({});
  CHECK(contains(error_of([&] { adam.set_momentum(1); }), "momentum is set to 1"));
  CHECK(AdamWOptions().weight_decay == 0.01);
}

TEST_CASE("schedules move Adam's learning rate and beta1", "[adam]") {
  Adam adam({}, {.learning_rate = 0.5});
  const auto cycle = make_scheduler(OneCycleLrOptions{.base_momentum = 0.6, .max_momentum = 0.8}, adam, 100);
  CHECK(std::abs(adam.learning_rate() - 0.5 / 25) < 1e-15);
  CHECK(adam.momentum() == 0.8);
}

}  // namespace
}  // namespace kg::training
