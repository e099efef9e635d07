// SPDX-License-Identifier: MIT
#include <memory>
#include <thread>

#include "support.h"

namespace kg {
namespace {

using namespace testing;

Tensor leaf(std::vector<double> values, Device device = {}) {
  const std::int64_t count = static_cast<std::int64_t>(values.size());
  return Tensor::from(values, {count}, device).set_requires_grad();
}

std::vector<double> grad_of(const Tensor& t) { return to_doubles(t.grad()); }

using Doubles = std::vector<double>;

/// x, as the result of an operation whose rule keeps `kept` alive.
Tensor identity_keeping(const Tensor& x, std::shared_ptr<int> kept) {
  return record("identity", x.clone(), {x}, [kept](const BackwardCall& call) -> std::vector<Tensor> {
    return {call.grad_output.clone()};
  });
}

TEST_CASE("backward adds to the gradients that are there", "[autograd]") {
  const Device device = GENERATE(from_range(devices()));
  INFO(device.name());
  const Tensor x = leaf({1, 2, 3}, device);
  CHECK(!x.grad().defined());
  sum(x * x).backward();
  CHECK(grad_of(x) == Doubles{2, 4, 6});
  sum(x * 10).backward();
  CHECK(grad_of(x) == Doubles{12, 14, 16});
  Tensor(x).set_grad({});
  CHECK(!x.grad().defined());
  sum(x).backward();
  CHECK(grad_of(x) == Doubles{1, 1, 1});
}

TEST_CASE("A gradient held by the user does not change when more is added", "[autograd]") {
  const Device device = GENERATE(from_range(devices()));
  INFO(device.name());
  const Tensor x = leaf({1, 2}, device);
  sum(x * 2).backward();
  const Tensor held = x.grad();
  sum(x * 3).backward();
  CHECK(to_doubles(held) == Doubles{2, 2});
  CHECK(grad_of(x) == Doubles{5, 5});
}

TEST_CASE("Two leaves never share the memory of their gradients", "[autograd]") {
  const Tensor x = leaf({1, 2}), w = leaf({3, 4});
  const Tensor y = GENERATE(0, 1) == 0 ? x + w : x.reshape({2}) + w;
  Tensor start = Tensor::ones({2}, {.dtype = DType::float64});
  y.backward(start);
  x.grad().data<double>()[0] = 100;
  CHECK(grad_of(w) == Doubles{1, 1});
  CHECK(to_doubles(start) == Doubles{1, 1});
  start.data<double>()[1] = 50;
  CHECK(grad_of(x) == Doubles{100, 1});
  CHECK(grad_of(w) == Doubles{1, 1});
}

TEST_CASE("A leaf's own backward copies the gradient it is given", "[autograd]") {
  const Tensor x = leaf({1, 2});
  Tensor start = Tensor::ones({2}, {.dtype = DType::float64});
  x.backward(start);
  x.backward(start);
  CHECK(grad_of(x) == Doubles{2, 2});
  CHECK(to_doubles(start) == Doubles{1, 1});
  Tensor(x).set_grad({});
  x.backward(start);
  start.data<double>()[0] = 7;
  CHECK(grad_of(x) == Doubles{1, 1});
}

TEST_CASE("Every use of a tensor counts", "[autograd]") {
  const Device device = GENERATE(from_range(devices()));
  INFO(device.name());
  const Tensor x = leaf({3}, device);
  SECTION("an operand twice") {
    (x * x).backward();
    CHECK(grad_of(x) == Doubles{6});
  }
  SECTION("added to itself") {
    (x + x).backward();
    CHECK(grad_of(x) == Doubles{2});
  }
  SECTION("a shared subexpression") {
    const Tensor square = x * x;
    (square * square + square).backward();  // x^4 + x^2
    CHECK(grad_of(x) == Doubles{4 * 27 + 6});
  }
  SECTION("a diamond with arms of different length") {
    const Tensor left = x * 2, right = relu(x * x) * 5 + x;
    (left * right).backward();  // 10 x^3 + 2 x^2
    CHECK(grad_of(x) == Doubles{30 * 9 + 4 * 3});
  }
  SECTION("a ladder of 60 doublings, which has 2^60 paths") {
    Tensor y = x;
    for (int i = 0; i < 60; ++i) y = y + y;
    y.backward();
    CHECK(grad_of(x) == Doubles{0x1p60});
  }
  SECTION("an early tensor used late") {
    const Tensor early = x * 2;
    Tensor y = early * 3;
    for (int i = 0; i < 5; ++i) y = y * 2;
    (y * early).backward();  // 384 x^2
    CHECK(grad_of(x) == Doubles{384 * 6});
  }
}

TEST_CASE("Several inputs of one operation get their own gradients", "[autograd]") {
  const Tensor a = leaf({2}), b = leaf({5}), constant = Tensor::from(Doubles{7}, {1});
  (a * b + constant * a).backward();
  CHECK(grad_of(a) == Doubles{12});
  CHECK(grad_of(b) == Doubles{2});
  CHECK(!constant.grad().defined());
}

TEST_CASE("backward from any tensor, given a gradient", "[autograd]") {
  const Tensor x = leaf({1, 2, 3});
  (x * x).backward(Tensor::from(Doubles{1, 10, 100}, {3}));
  CHECK(grad_of(x) == Doubles{2, 40, 600});
}

TEST_CASE("A second backward needs a retained graph", "[autograd]") {
  const Tensor x = leaf({3});
  const Tensor y = x * x * x;
  SECTION("retained") {
    y.backward(true);
    y.backward(true);
    CHECK(grad_of(x) == Doubles{54});
    y.backward();
    CHECK(grad_of(x) == Doubles{81});
    check_error([&] { y.backward(); }, {"backward", "\"mul\"", "freed", "retain_graph"});
  }
  SECTION("not retained") {
    y.backward();
    check_error([&] { y.backward(); }, {"backward", "\"mul\"", "freed", "retain_graph"});
    CHECK(grad_of(x) == Doubles{27});
  }
  SECTION("a part shared with a graph that was freed") {
    const Tensor square = x * x;
    (square * 2).backward();
    check_error([&] { (square * 3).backward(); }, {"backward", "\"mul\"", "freed"});
  }
}

TEST_CASE("Under NoGrad nothing is recorded", "[autograd]") {
  const Tensor x = leaf({3});
  CHECK(grad_is_enabled());
  {
    const NoGrad outer;
    CHECK(!grad_is_enabled());
    { const NoGrad inner; }
    CHECK(!grad_is_enabled());
    const Tensor y = x * x;
    CHECK(!y.requires_grad());
    CHECK(y.is_leaf());
  }
  CHECK(grad_is_enabled());
  CHECK((x * x).requires_grad());
}

TEST_CASE("NoGrad holds for its own thread", "[autograd]") {
  const NoGrad no_grad;
  bool enabled = false;
  std::thread([&] { enabled = grad_is_enabled(); }).join();
  CHECK(enabled);
}

TEST_CASE("Backward rules run under NoGrad", "[autograd]") {
  const Tensor x = leaf({3});
  bool enabled = true;
  record("probe", x.clone(), {x}, [&](const BackwardCall& call) -> std::vector<Tensor> {
    enabled = grad_is_enabled();
    return {call.grad_output};
  }).backward();
  CHECK(!enabled);
  CHECK(grad_is_enabled());
  CHECK(!x.grad().requires_grad());
}

TEST_CASE("detach shares the elements and stops gradients", "[autograd]") {
  const Tensor x = leaf({3});
  const Tensor y = x * 2;
  Tensor detached = y.detach();
  CHECK(!detached.requires_grad());
  CHECK(detached.is_leaf());
  CHECK(detached.data<double>() == y.data<double>());
  (y * detached).backward();
  CHECK(grad_of(x) == Doubles{12});
  check_error([&] { detached.backward(); }, {"backward", "requires no gradient"});
}

TEST_CASE("grad_fn_name names the operation, nothing for a leaf", "[autograd]") {
  const Tensor x = leaf({3});
  CHECK(x.grad_fn_name() == "");
  CHECK(x.is_leaf());
  const Tensor y = relu(x);
  CHECK(y.grad_fn_name() == "relu");
  CHECK(!y.is_leaf());
  CHECK(y.requires_grad());
  CHECK(relu(Tensor::zeros({1})).grad_fn_name() == "");
}

TEST_CASE("A rule learns which gradients are wanted, and need not give the others", "[autograd]") {
  const Tensor a = leaf({1}), b = Tensor::zeros({1}, {.dtype = DType::float64}), c = leaf({2});
  std::vector<bool> needs;
  record("three", Tensor::zeros({1}, {.dtype = DType::float64}), {a, b, {}, c * 1},
         [&](const BackwardCall& call) -> std::vector<Tensor> {
           needs = call.needs;
           CHECK(call.grad_output.shape() == Shape{1});
           return {call.grad_output, {}, {}, call.grad_output};
         })
      .backward();
  CHECK(needs == std::vector<bool>{true, false, false, true});
  CHECK(grad_of(a) == Doubles{1});
  CHECK(grad_of(c) == Doubles{1});
}

TEST_CASE("A rule that nobody needs is dropped at once", "[autograd]") {
  const auto kept = std::make_shared<int>(0);
  const Tensor x = Tensor::zeros({1});
  const Tensor y = identity_keeping(x, kept);
  CHECK(kept.use_count() == 1);
  const NoGrad no_grad;
  const Tensor z = identity_keeping(leaf({1}), kept);
  CHECK(kept.use_count() == 1);
}

TEST_CASE("backward frees the graph and what its rules hold", "[autograd]") {
  const auto kept = std::make_shared<int>(0);
  const Tensor x = leaf({1});
  const Tensor y = identity_keeping(identity_keeping(x, kept) * 2, kept) * 3;
  CHECK(kept.use_count() == 3);
  SECTION("not when it is retained") {
    y.backward(true);
    CHECK(kept.use_count() == 3);
    y.backward();
  }
  SECTION("otherwise at once, while the result lives on") { y.backward(); }
  CHECK(kept.use_count() == 1);
}

TEST_CASE("A graph that is not run backward goes with its last tensor", "[autograd]") {
  const auto kept = std::make_shared<int>(0);
  const Tensor x = leaf({1});
  {
    const Tensor y = identity_keeping(x, kept) * 2;
    CHECK(kept.use_count() == 2);
  }
  CHECK(kept.use_count() == 1);
}

TEST_CASE("A part of a graph that a tensor still needs stays", "[autograd]") {
  const auto kept = std::make_shared<int>(0);
  const Tensor x = leaf({5});
  const Tensor shared = identity_keeping(x, kept);
  { const Tensor other = shared * 2; }
  CHECK(kept.use_count() == 2);
  (shared * 3).backward();
  CHECK(grad_of(x) == Doubles{3});
}

TEST_CASE("Chains of 200,000 operations need no stack", "[autograd]") {
  constexpr int depth = 200'000;
  const Tensor x = leaf({1});
  const auto chain = [&] {
    Tensor y = x;
    for (int i = 0; i < depth; ++i) y = i % 2 ? y + x : y * x;  // a rule of mul holds the tensors before it
    return y;
  };
  SECTION("forward and destruction") { CHECK(chain().item() == 1 + depth / 2); }
  SECTION("backward") {
    const Tensor y = chain();
    y.backward();
    // d/dx of n -> n x + x with y_0 = x: y = x + (x + x^2 + ...) evaluated at 1 by its recurrence.
    double value = 1, slope = 1;
    for (int i = 0; i < depth; ++i) {
      slope = i % 2 ? slope + 1 : slope + value;
      value = i % 2 ? value + 1 : value;
    }
    CHECK(grad_of(x) == Doubles{slope});
  }
  SECTION("backward with the graph retained, then destruction") { chain().backward(true); }
  SECTION("a chain through a user's rule") {
    Tensor y = x;
    for (int i = 0; i < depth; ++i)
      y = record("captures", y.clone(), {y},
                 [y](const BackwardCall& call) -> std::vector<Tensor> { return {call.grad_output}; });
    y.backward(true);
    CHECK(grad_of(x) == Doubles{1});
  }
}

TEST_CASE("The same backward gives the same bits", "[autograd]") {
  const Tensor x = random({50, 50}, DType::float32);
  const Function function = [](const std::vector<Tensor>& t) {
    Tensor y = t[0];
    for (int i = 0; i < 10; ++i) y = y * t[0] + y + relu(y * 0.5);
    return y;
  };
  CHECK(same_bits(run(function, requiring({x})).gradients[0], run(function, requiring({x})).gradients[0]));
}

TEST_CASE("backward says what does not fit", "[autograd][errors]") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * 2;
  check_error([&] { y.backward(); }, {"backward", "[2]", "only a scalar"});
  check_error([&] { Tensor().backward(); }, {"undefined"});
  check_error([&] { y.backward(Tensor()); }, {"undefined"});
  check_error([&] { y.backward(random({3})); }, {"backward", "[3]", "[2]"});
  check_error([&] { y.backward(random({2}, DType::float32)); }, {"backward", "float32", "float64"});
  if (cuda_is_available())
    check_error([&] { y.backward(random({2}).to(Device::cuda())); },
                {"the gradient given is", "on cuda", "on cpu"});
  check_error([&] { Tensor::ones({1}).backward(); }, {"backward", "requires no gradient"});
  y.backward(Tensor::ones({2}, {.dtype = DType::float64}));  // the failed calls have freed nothing
  CHECK(grad_of(x) == Doubles{2, 2});
}

Tensor with_rule(const Tensor& x, BackwardRule rule) {
  return record("mine", x.clone(), {x}, std::move(rule));
}

TEST_CASE("A leaf that changes its dtype between forward and backward gets no gradient",
          "[autograd][errors]") {
  Tensor leaf = Tensor::ones({3}, {.dtype = DType::float64}).set_requires_grad();
  const Tensor result = sum(leaf);
  leaf.set_data(leaf.detach().to(DType::float32));
  check_error([&] { result.backward(); }, {"backward", "float64 [3]", "in forward", "float32 [3]"});
  CHECK(!leaf.grad().defined());
}

TEST_CASE("A rule that does not keep to its contract is named", "[autograd][errors]") {
  const Tensor x = leaf({1, 2});
  const auto backward = [&](std::vector<Tensor> gradients) {
    with_rule(x, [=](const BackwardCall&) { return gradients; }).backward(random({2}));
  };
  check_error([&] { backward({}); }, {"mine", "0 gradients for 1 inputs"});
  check_error([&] { backward({random({2}), random({2})}); }, {"mine", "2 gradients for 1 inputs"});
  check_error([&] { backward({Tensor()}); }, {"mine", "no gradient for input 0"});
  check_error([&] { backward({random({3})}); }, {"mine", "input 0", "[3]", "[2]"});
  check_error([&] { backward({random({2}, DType::float32)}); }, {"mine", "input 0", "float32", "float64"});
  if (cuda_is_available())
    check_error([&] { backward({random({2}).to(Device::cuda())}); },
                {"mine", "input 0", "on cuda", "on cpu"});
  // And where the input is no leaf.
  check_error(
      [&] {
        with_rule(x * 2, [](const BackwardCall&) {
          return std::vector<Tensor>{random({3})};
        }).backward(random({2}));
      },
      {"mine", "input 0", "[3]", "[2]"});
  check_error(
      [&] {
        with_rule(x * 2, [](const BackwardCall&) {
          return std::vector<Tensor>{random({2}, DType::float32)};
        }).backward(random({2}));
      },
      {"mine", "input 0", "float32", "float64"});
  if (!cuda_is_available()) return;
  check_error(
      [&] {
        with_rule(x * 2, [](const BackwardCall&) {
          return std::vector<Tensor>{random({2}).to(Device::cuda())};
        }).backward(random({2}));
      },
      {"mine", "input 0", "on cuda", "on cpu"});
}

TEST_CASE("What a rule throws passes through", "[autograd][errors]") {
  const Tensor x = leaf({1});
  const Tensor y =
      with_rule(x, [](const BackwardCall&) -> std::vector<Tensor> { throw Error("no such luck"); });
  check_error([&] { y.backward(); }, {"no such luck"});
  CHECK(grad_is_enabled());
}

TEST_CASE("record wants a fresh output", "[autograd][errors]") {
  const Tensor x = leaf({1});
  const BackwardRule rule = [](const BackwardCall& call) { return std::vector<Tensor>{call.grad_output}; };
  check_error([&] { record("mine", x, {x}, rule); }, {"mine", "fresh tensor"});
  check_error([&] { record("mine", x * 2, {x}, rule); }, {"mine", "fresh tensor"});
}

TEST_CASE("Only floating-point leaves can require a gradient", "[autograd][errors]") {
  check_error([] { Tensor::zeros({1}, {.dtype = DType::int64}).set_requires_grad(); },
              {"set_requires_grad", "int64", "floating-point"});
  const Tensor x = leaf({1});
  check_error([&] { (x * 2).set_requires_grad(); }, {"set_requires_grad", "mul", "leaves"});
  check_error([] { Tensor().set_requires_grad(); }, {"undefined"});
  Tensor y = leaf({1});
  CHECK(!y.set_requires_grad(false).requires_grad());
}

TEST_CASE("set_grad wants the tensor's shape and dtype", "[autograd][errors]") {
  Tensor x = leaf({1, 2});
  x.set_grad(Tensor::from(Doubles{5, 6}, {2}));
  sum(x).backward();
  CHECK(grad_of(x) == Doubles{6, 7});
  check_error([&] { x.set_grad(random({3})); }, {"set_grad", "[3]", "[2]"});
  check_error([&] { x.set_grad(random({2}, DType::float32)); }, {"set_grad", "float32", "float64"});
  check_error([] { Tensor().set_grad({}); }, {"undefined"});
}

}  // namespace
}  // namespace kg
