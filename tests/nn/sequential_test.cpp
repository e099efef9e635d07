// SPDX-License-Identifier: MIT
#include "support.h"

namespace kg {
namespace {

using namespace testing;

/// Runs of modules around BatchNorm2d as they are fused, and others that look alike and must not be.
std::vector<std::pair<std::string, nn::Sequential>> examples() {
  using nn::BatchNorm2d, nn::Dropout, nn::ReLU, nn::Sequential;
  std::vector<std::pair<std::string, nn::Sequential>> all;
  all.emplace_back("nothing", Sequential());
  all.emplace_back("BN", Sequential(BatchNorm2d(3)));
  all.emplace_back("ReLU BN", Sequential(ReLU(), BatchNorm2d(3)));
  all.emplace_back("BN ReLU", Sequential(BatchNorm2d(3), ReLU()));
  all.emplace_back("BN Dropout", Sequential(BatchNorm2d(3), Dropout(0.3)));
  all.emplace_back("ReLU BN ReLU Dropout", Sequential(ReLU(), BatchNorm2d(3), ReLU(), Dropout(0.3)));
  all.emplace_back("ReLU BN Dropout(0)", Sequential(ReLU(), BatchNorm2d(3), Dropout(0)));
  all.emplace_back("BN Dropout(1)", Sequential(BatchNorm2d(3), Dropout(1)));
  all.emplace_back("BN ReLU BN", Sequential(BatchNorm2d(3), ReLU(), BatchNorm2d(3)));
  all.emplace_back("BN Dropout Dropout", Sequential(BatchNorm2d(3), Dropout(0.3), Dropout(0.4)));
  all.emplace_back("BN Dropout ReLU", Sequential(BatchNorm2d(3), Dropout(0.3), ReLU()));
  all.emplace_back("Dropout ReLU", Sequential(Dropout(0.3), ReLU()));
  all.emplace_back("ReLU ReLU BN", Sequential(ReLU(), ReLU(), BatchNorm2d(3)));
  all.emplace_back("functional ReLU BN", Sequential(nn::Functional(relu), BatchNorm2d(3)));
  all.emplace_back("sigmoid BN", Sequential(nn::Functional(sigmoid), BatchNorm2d(3), nn::Functional(relu)));
  all.emplace_back("nested", Sequential(nn::Conv2d(3, 3, 3), Sequential(ReLU(), BatchNorm2d(3), Dropout(0.2)),
                                        ReLU(), Sequential(BatchNorm2d(3), ReLU())));
  return all;
}

/// What one training step through the module leaves behind.
struct Step {
  Tensor output, input_gradient;
  std::vector<Tensor> gradients;
  nn::StateDict state;
  std::uint64_t draws;
};

/// With a seed, input, parameters, statistics and incoming gradient are jittered().
Step step(nn::Sequential& module, const nn::StateDict& start, bool hooked, std::uint32_t seed = 0) {
  nn::StateDict moved;
  for (const auto& [name, tensor] : start) {
    const std::uint32_t its_seed = seed == 0 ? 0 : 100 * seed + static_cast<std::uint32_t>(moved.size());
    moved.push_back({name, jittered(tensor.detach(), its_seed)});
  }
  module.load_state_dict(moved);
  for (Tensor parameter : module.parameters()) parameter.set_grad({});
  manual_seed(5);
  Tensor x = jittered(random({4, 3, 5, 6}, DType::float64, 1), seed).set_requires_grad();
  Tensor y;
  if (hooked) {
    const nn::ForwardHook hook([](const nn::Module&, const Tensor&) {});
    y = module(x);
  } else {
    y = module(x);
  }
  if (y.is_leaf()) return {y, {}, {}, {}, default_generator().draws()};
  y.backward(jittered(random(y.shape(), DType::float64, 99), seed));
  Step result{y.detach(), x.grad(), {}, {}, default_generator().draws()};
  for (const Tensor& parameter : module.parameters()) result.gradients.push_back(parameter.grad().clone());
  for (const auto& [name, tensor] : module.state_dict()) result.state.push_back({name, tensor.clone()});
  return result;
}

void check_fused_equals_unfused(nn::Sequential& module) {
  module.to(DType::float64);
  nn::StateDict start;
  for (const auto& [name, tensor] : module.state_dict()) start.push_back({name, tensor.clone()});
  const Step fused = step(module, start, false), apart = step(module, start, true);
  const std::vector<Step> around = {step(module, start, true, 1), step(module, start, true, 2),
                                    step(module, start, true, 3)};
  const auto check = [&](const auto& part, double tolerance) {
    CHECK(part(fused).defined() == part(apart).defined());
    if (!part(apart).defined()) return;
    const reference::Values expected =
        with_terms(part(apart), {part(around[0]), part(around[1]), part(around[2])});
    CHECK(difference(part(fused), expected, tolerance) == "");
  };
  CHECK(fused.draws == apart.draws);
  check([](const Step& s) { return s.output; }, 1e-14);
  check([](const Step& s) { return s.input_gradient; }, 1e-14);
  REQUIRE(fused.gradients.size() == apart.gradients.size());
  for (std::size_t i = 0; i < fused.gradients.size(); ++i)
    check([i](const Step& s) { return s.gradients[i]; }, 1e-14);
  for (std::size_t i = 0; i < fused.state.size(); ++i) {
    INFO(fused.state[i].name);
    check([i](const Step& s) { return s.state[i].tensor; }, 1e-14);
  }
}

TEST_CASE("A fused Sequential is the modules one by one, to the random draws", "[nn][sequential]") {
  const bool training = GENERATE(true, false);
  for (auto& [name, module] : examples()) {
    INFO(name << (training ? ", training" : ", inference"));
    module.train(training);
    check_fused_equals_unfused(module);
  }
}

TEST_CASE("Fused modules keep their own modes", "[nn][sequential]") {
  using nn::BatchNorm2d, nn::Dropout, nn::ReLU, nn::Sequential;
  Sequential module(ReLU(), BatchNorm2d(3), ReLU(), Dropout(0.3));
  SECTION("frozen statistics, active dropout") {
    module.children()[1].second->eval();
    check_fused_equals_unfused(module);
  }
  SECTION("batch statistics, no dropout") {
    module.children()[3].second->eval();
    check_fused_equals_unfused(module);
  }
}

/// A ReLU of a user's own that is none.
class Leaky : public nn::ReLU {
 public:
  Tensor forward(const Tensor& x) override { return relu(x) + relu(x * -1) * -0.1; }
};

/// Modules derived from the library's that compute something else.
class Shifted : public nn::BatchNorm2d {
 public:
  using BatchNorm2d::BatchNorm2d;
  Tensor forward(const Tensor& x) override {
    return BatchNorm2d::forward(x) + Tensor::ones({}, {.dtype = x.dtype()});
  }
};

class Twice : public nn::Dropout {
 public:
  using Dropout::Dropout;
  Tensor forward(const Tensor& x) override { return x * 2; }
};

TEST_CASE("A class derived from a fused module keeps its own forward", "[nn][sequential]") {
  using nn::BatchNorm2d, nn::Dropout, nn::ReLU, nn::Sequential;
  SECTION("before") {
    Sequential module(Leaky(), BatchNorm2d(3));
    check_fused_equals_unfused(module);
  }
  SECTION("after") {
    Sequential module(BatchNorm2d(3), Leaky());
    check_fused_equals_unfused(module);
  }
  SECTION("in the middle") {
    Sequential module(ReLU(), Shifted(3), ReLU());
    check_fused_equals_unfused(module);
  }
  SECTION("at the end") {
    Sequential module(BatchNorm2d(3), ReLU(), Twice(0.5));
    check_fused_equals_unfused(module);
  }
}

TEST_CASE("A Sequential in braces or copied contains modules, not a copy of itself", "[nn][sequential]") {
  nn::Sequential module = {nn::ReLU(), nn::Flatten()};
  nn::Sequential copy(module);
  CHECK(copy.children().size() == 2);
  const nn::Sequential& constant = module;
  CHECK(nn::Sequential(constant).children().size() == 2);
  nn::Sequential moved(std::move(copy));
  CHECK(moved.children().size() == 2);
  CHECK(nn::Sequential(module, nn::ReLU()).children().size() == 2);
  module.append(std::make_shared<nn::LogSoftmax>());
  CHECK(module.children().size() == 3);
  CHECK(module.children()[2].first == "2");
}

TEST_CASE("A Sequential takes no module that is null or contains it", "[nn][sequential][errors]") {
  nn::Sequential module = {nn::ReLU(), nn::Flatten()};
  const auto append = [](nn::Sequential& to, std::shared_ptr<nn::Module> what) {
    return [&to, what] { to.append(what); };
  };
  check_error(append(module, nullptr), {"\"2\"", "null"});
  check_error(append(module, std::make_shared<nn::Sequential>(module)), {"\"2\"", "is the module"});
  const auto outer = std::make_shared<nn::Sequential>(nn::ReLU(), nn::Sequential(module));
  check_error(append(module, outer), {"\"2\"", "contains", "\"1\""});
  check_error(append(module, std::make_shared<nn::Sequential>(*outer)), {"\"2\"", "contains", "\"1\""});
  check_error(append(module, std::make_shared<nn::Sequential>(nn::Sequential(*outer))),
              {"\"2\"", "contains", "\"1\""});
  const auto outermost = std::make_shared<nn::Sequential>();
  outermost->append(outer);
  check_error(append(module, outermost), {"\"2\"", "contains", "\"0.1\""});
  check_error(append(*outermost, outermost), {"\"1\"", "is the module"});
  CHECK(module.children().size() == 2);
  // The same module twice, or a module of one's own depth, is no cycle.
  outermost->append(outer);
  CHECK(outermost->children().size() == 2);
  const auto same = std::make_shared<nn::ReLU>();
  module.append(same);
  module.append(same);
  CHECK(module.children().size() == 4);
}

TEST_CASE("A module takes no value that contains it", "[nn][sequential][errors]") {
  const auto inner = std::make_shared<nn::Sequential>(nn::ReLU());
  nn::Sequential outer = {nn::Flatten()};
  outer.append(inner);
  check_error([&] { *inner = outer; }, {"\"1\"", "part"});
  CHECK(inner->children().size() == 1);
  outer = *inner;
  CHECK(outer.children().size() == 1);
  nn::Sequential& itself = outer;
  outer = itself;
  CHECK(outer.children().size() == 1);
}

}  // namespace
}  // namespace kg
