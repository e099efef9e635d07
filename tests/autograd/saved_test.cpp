// SPDX-License-Identifier: MIT
#include <memory>

#include "core/tensor_impl.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;

/// Which arguments of an operation require a gradient.
using Needs = std::vector<bool>;
/// Whether an operation saves something for its gradients.
using Saves = std::function<bool(const Needs&)>;

const Saves never = [](const Needs&) { return false; };
const Saves always = [](const Needs&) { return true; };

Saves if_wanted(std::size_t argument) {
  return [argument](const Needs& wanted) { return wanted[argument]; };
}

struct Argument {
  const char* name;
  Tensor value;
  Saves saved = never;
};

struct Operation {
  const char *name, *variant;
  std::vector<Argument> arguments;
  Function function;
  Saves output_saved = never;
};

std::string describe(const Operation& operation) {
  return std::string(operation.name) + (*operation.variant ? ", " : "") + operation.variant;
}

/// Every operation that is differentiable, with what it saves: no more than what a gradient that is wanted
/// needs, and nothing where shapes are enough.
std::vector<Operation> operations(Device device) {
  auto values = [device, seed = 0u](const Shape& shape) mutable {
    return random(shape, DType::float64, ++seed, device);
  };
  const auto labels = [device](DType dtype) {
    return Tensor::from(std::vector<std::int64_t>{2, 0, 1}, {3}).to(dtype).to(device);
  };
  // What max_pool2d's backward goes by is the implementation's choice.
  const Saves by_values =
      device.is_cuda() && kernel_policy("max_pool2d") == KernelPolicy::cudnn ? always : never;
  std::vector<Operation> all = {
      {"add", "", {{"a", values({2, 3})}, {"b", values({3})}}, [](const auto& t) { return t[0] + t[1]; }},
      {"mul",
       "",
       {{"a", values({2, 3}), if_wanted(1)}, {"b", values({3}), if_wanted(0)}},
       [](const auto& t) { return t[0] * t[1]; }},
      {"mul", "by a number", {{"x", values({2, 3})}}, [](const auto& t) { return t[0] * 3; }},
      {"relu", "", {{"input", values({2, 3})}}, [](const auto& t) { return relu(t[0]); }, always},
      {"sum", "", {{"input", values({2, 3})}}, [](const auto& t) { return sum(t[0], {.dims = {1}}); }},
      {"mean", "", {{"input", values({2, 3})}}, [](const auto& t) { return mean(t[0]); }},
      {"reshape",
       "",
       {{"input", values({2, 3})}},
       [](const auto& t) {
         return t[0].reshape({3, -1});
       }},
      {"reshape", "flatten", {{"input", values({2, 3, 2})}}, [](const auto& t) { return flatten(t[0], 1); }},
      {"linear",
       "",
       {{"input", values({4, 3}), if_wanted(1)},
        {"weight", values({2, 3}), if_wanted(0)},
        {"bias", values({2})}},
       [](const auto& t) { return linear(t[0], t[1], t[2]); }},
      {"conv2d",
       "",
       {{"input", values({2, 2, 4, 5}), if_wanted(1)},
        {"weight", values({3, 2, 3, 2}), if_wanted(0)},
        {"bias", values({3})}},
       [](const auto& t) {
         return conv2d(t[0], t[1], t[2], {.padding = {1, 0}});
       }},
      {"dropout",
       "",
       {{"input", values({4, 5})}},
       [](const auto& t) {
         Generator generator(3);
         return dropout(t[0], 0.5, generator);
       }},
      {"max_pool2d",
       "",
       {{"input", distinct({2, 2, 4, 5}, DType::float64, 1, device), by_values}},
       [](const auto& t) {
         return max_pool2d(t[0], {2, 3}, {.stride = {2, 1}});
       },
       by_values},
      {"avg_pool2d",
       "",
       {{"input", values({2, 2, 4, 5})}},
       [](const auto& t) {
         return avg_pool2d(t[0], {2, 3}, {.stride = {2, 1}});
       }},
      {"global_avg_pool2d",
       "",
       {{"input", values({2, 2, 4, 5})}},
       [](const auto& t) { return global_avg_pool2d(t[0]); }},
      {"log_softmax",
       "",
       {{"input", values({3, 4})}},
       [](const auto& t) { return log_softmax(t[0]); },
       always},
      // Labels that must be converted first are a copy already.
      {"nll_loss",
       "",
       {{"log_probabilities", values({3, 4})}, {"labels", labels(DType::int64), always}},
       [](const auto& t) { return nll_loss(t[0], t[1]); }},
      {"nll_loss",
       "int32",
       {{"log_probabilities", values({3, 4})}, {"labels", labels(DType::int32)}},
       [](const auto& t) { return nll_loss(t[0], t[1]); }},
      {"cross_entropy",
       "",
       {{"logits", values({3, 4}), always}, {"labels", labels(DType::int64), always}},
       [](const auto& t) { return cross_entropy(t[0], t[1]); }},
      {"cross_entropy",
       "uint8",
       {{"logits", values({3, 4}), always}, {"labels", labels(DType::uint8)}},
       [](const auto& t) { return cross_entropy(t[0], t[1]); }},
  };
  const auto add_batch_norm = [&](const char* variant, const BatchNormOptions& options) {
    const bool after = options.relu_after;
    const Saves gamma_saved = [after](const Needs& wanted) { return after || wanted[0]; };
    all.push_back({"batch_norm",
                   variant,
                   {{"input", values({3, 2, 2, 3}), always},
                    {"gamma", values({2}), gamma_saved},
                    {"beta", values({2}), after ? always : never},
                    {"running_mean", values({2})},
                    {"running_var", Tensor::ones({2}, {DType::float64, device})}},
                   [options](const auto& t) {
                     Generator generator(4);
                     BatchNormOptions with_generator = options;
                     with_generator.generator = &generator;
                     return batch_norm(t[0], t[1], t[2], t[3], t[4], with_generator);
                   }});
  };
  add_batch_norm("in training", {.training = true});
  add_batch_norm("in inference", {});
  add_batch_norm("in training with its neighbours",
                 {.training = true, .relu_before = true, .relu_after = true, .dropout = 0.5});
  add_batch_norm("in inference with its neighbours",
                 {.relu_before = true, .relu_after = true, .dropout = 0.5});
  all.push_back({"batch_norm", "plain", {{"input", values({3, 2, 4}), always}}, [](const auto& t) {
                   return batch_norm(t[0], {}, {}, {}, {}, {.training = true});
                 }});
  return all;
}

/// Calls body(operation, wanted) for every operation and every set of arguments that gradients can be wanted
/// of.
template <class Body>
void for_each_operation(const Body& body) {
  for (const Device device : devices())
    for (const Operation& operation : operations(device)) {
      const std::vector<Argument>& arguments = operation.arguments;
      // Statistics have no gradient, nor have labels.
      const std::size_t differentiable =
          std::string(operation.name) == "batch_norm"         ? std::min<std::size_t>(arguments.size(), 3)
          : is_floating_point(arguments.back().value.dtype()) ? arguments.size()
                                                              : 1;
      for (unsigned subset = 1; subset < 1u << differentiable; ++subset) {
        Needs wanted(arguments.size());
        for (std::size_t i = 0; i < differentiable; ++i) wanted[i] = subset >> i & 1;
        INFO(device.name() << ": " << describe(operation) << ", gradients " << subset);
        body(operation, wanted);
      }
    }
}

std::vector<Tensor> leaves_of(const Operation& operation, const Needs& wanted) {
  std::vector<Tensor> leaves;
  for (const Argument& argument : operation.arguments) {
    leaves.push_back(argument.value.clone());
    if (wanted[leaves.size() - 1]) leaves.back().set_requires_grad();
  }
  return leaves;
}

/// Other elements for a tensor: what a label may be, too.
Tensor others(const Tensor& tensor) {
  return Tensor::full(tensor.shape(), 3, {.dtype = tensor.dtype(), .device = tensor.device()});
}

/// What happens between forward and backward.
using Disturbance = std::function<void(std::vector<Tensor>& leaves, const Tensor& output)>;

/// The leaves' gradients.
std::vector<Tensor> gradients(const Operation& operation, const Needs& wanted, const Disturbance& disturb) {
  std::vector<Tensor> leaves = leaves_of(operation, wanted);
  const Tensor output = operation.function(leaves);
  disturb(leaves, output);
  output.backward(random(output.shape(), output.dtype(), 99, output.device()));
  std::vector<Tensor> result;
  for (const Tensor& leaf : leaves) result.push_back(leaf.grad());
  return result;
}

std::vector<Tensor> undisturbed_gradients(const Operation& operation, const Needs& wanted) {
  return gradients(operation, wanted, [](auto&, auto&) {});
}

void check_same_gradients(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected) {
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("gradient of argument " << i);
    CHECK(same_bits(actual[i], expected[i]));
  }
}

TEST_CASE("What an operation saved and somebody overwrote is an error, and nothing else is", "[saved]") {
  for_each_operation([](const Operation& operation, const Needs& wanted) {
    const std::vector<Tensor> expected = undisturbed_gradients(operation, wanted);
    const auto check = [&](const char* argument, bool saved, const Disturbance& disturb) {
      INFO(argument << " overwritten");
      if (saved)
        check_error([&] { gradients(operation, wanted, disturb); },
                    {operation.name, argument, "overwritten", "version 2", "expected version 1", "clone()"});
      else
        check_same_gradients(gradients(operation, wanted, disturb), expected);
    };
    for (std::size_t i = 0; i < operation.arguments.size(); ++i) {
      const auto& [name, value, saves] = operation.arguments[i];
      // clone() has written once.
      check(name, saves(wanted), [i](auto& leaves, auto&) { leaves[i].copy_from(others(leaves[i])); });
    }
    INFO("output overwritten");
    const Disturbance disturb = [](auto&, const Tensor& output) {
      output.detach().copy_from(others(output));
    };
    if (operation.output_saved(wanted))
      check_error([&] { gradients(operation, wanted, disturb); },
                  {operation.name, "output", "overwritten", "version 1", "expected version 0"});
    else
      check_same_gradients(gradients(operation, wanted, disturb), expected);
  });
}

TEST_CASE("Reading what an operation saved is no error", "[saved]") {
  for_each_operation([](const Operation& operation, const Needs& wanted) {
    const std::vector<Tensor> actual = gradients(operation, wanted, [](auto& leaves, const Tensor& output) {
      for (Tensor& leaf : leaves) {
        if (is_floating_point(leaf.dtype())) static_cast<void>(leaf.device_data<double>());
        static_cast<void>(leaf.clone());
      }
      static_cast<void>(output.clone());
    });
    check_same_gradients(actual, undisturbed_gradients(operation, wanted));
  });
}

TEST_CASE("A leaf that is given other elements leaves the gradients those of forward", "[saved]") {
  for_each_operation([](const Operation& operation, const Needs& wanted) {
    const std::vector<Tensor> actual = gradients(operation, wanted, [](auto& leaves, auto&) {
      for (Tensor& leaf : leaves) leaf.set_data(others(leaf));
    });
    check_same_gradients(actual, undisturbed_gradients(operation, wanted));
  });
}

TEST_CASE("A leaf that is given another dtype or device gets no gradient, the others theirs", "[saved]") {
  for_each_operation([](const Operation& operation, const Needs& wanted) {
    const std::vector<Tensor> expected = undisturbed_gradients(operation, wanted);
    for (std::size_t i = 0; i < operation.arguments.size(); ++i) {
      const Disturbance halve = [i](auto& leaves, auto&) {
        leaves[i].set_data(
            Tensor::zeros(leaves[i].shape(), {.dtype = DType::float32, .device = leaves[i].device()}));
      };
      const Disturbance move = [i](auto& leaves, auto&) {
        const Device there = leaves[i].device().is_cuda() ? Device::cpu() : Device::cuda();
        leaves[i].set_data(leaves[i].detach().to(there));
      };
      std::vector<Disturbance> disturbances = {halve};
      if (cuda_is_available()) disturbances.push_back(move);
      for (const Disturbance& disturb : disturbances) {
        INFO("argument " << i);
        if (wanted[i])
          check_error([&] { gradients(operation, wanted, disturb); },
                      {operation.name, ("input " + std::to_string(i)).c_str(), "in forward", "now it is"});
        else
          check_same_gradients(gradients(operation, wanted, disturb), expected);
      }
    }
  });
}

TEST_CASE("A graph keeps the memory of what it saved and no other", "[saved]") {
  for_each_operation([](const Operation& operation, const Needs& wanted) {
    std::vector<Tensor> leaves = leaves_of(operation, wanted), inputs;
    std::vector<std::weak_ptr<Storage>> memory;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      inputs.push_back(wanted[i] ? leaves[i] * 1 : leaves[i].clone());
      memory.push_back(inputs[i].impl()->storage);
    }
    Tensor output = operation.function(inputs);
    const std::weak_ptr<Storage> output_memory = output.impl()->storage;
    const std::shared_ptr<Node> graph = output.impl()->grad_fn;
    inputs.clear();
    output = {};
    for (std::size_t i = 0; i < memory.size(); ++i) {
      INFO(operation.arguments[i].name);
      CHECK(memory[i].expired() == !operation.arguments[i].saved(wanted));
    }
    INFO("output");
    CHECK(output_memory.expired() == !operation.output_saved(wanted));
  });
}

TEST_CASE("A write is seen through every tensor of the same elements", "[saved]") {
  const Device device = GENERATE(from_range(devices()));
  const auto view = GENERATE(
      as<std::function<Tensor(const Tensor&)>>(), [](const Tensor& t) { return t; },
      [](const Tensor& t) { return t.detach(); }, [](const Tensor& t) { return t.reshape({6}); },
      [](const Tensor& t) { return flatten(t.detach()); });
  const Tensor x = random({2, 3}, DType::float32, 1, device).set_requires_grad();
  const Tensor weight = random({3, 3}, DType::float32, 2, device);
  const Tensor y = linear(x, weight);
  Tensor seen = view(y);
  const Tensor z = sum(relu(y) * y);
  SECTION("by copy_from") { seen.copy_from(seen.detach().clone()); }
  SECTION("through a pointer, and said") {
    CHECK(seen.device_data<float>() != nullptr);
    seen.bump_version();
  }
  check_error([&] { z.backward(); },
              {"mul", "b", ("float32 [2, 3] on " + device.name()).c_str(), "version 1", "version 0"});
}

TEST_CASE("The version counts what overwrites elements", "[saved]") {
  const Device device = GENERATE(from_range(devices()));
  const TensorOptions options = {.dtype = DType::float32, .device = device};
  Tensor x = Tensor::zeros({2, 3}, options);
  CHECK(x.version() == 0);
  x.copy_from(Tensor::ones({2, 3}, options));
  CHECK(x.version() == 1);
  x.bump_version();
  x.detach().bump_version();
  x.reshape({3, 2}).bump_version();
  CHECK(x.version() == 4);
  // What reads does not count.
  static_cast<void>(x.device_data<float>());
  static_cast<void>(x.to_vector<float>());
  static_cast<void>(relu(x) + x * 2);
  CHECK(x.version() == 4);
  Tensor other = Tensor::ones({2, 3}, options);
  other.set_data(x);
  CHECK(other.version() == 4);
  check_error([] { Tensor().bump_version(); }, {"undefined"});
  check_error([] { static_cast<void>(Tensor().version()); }, {"undefined"});
}

TEST_CASE("Batch norm overwrites its statistics in training alone", "[saved]") {
  const Device device = GENERATE(from_range(devices()));
  nn::BatchNorm2d layer(2);
  layer.to(device);
  const Tensor x = random({3, 2, 2, 2}, DType::float32, 1, device);
  const auto versions = [&] {
    std::vector<std::uint64_t> result;
    for (const nn::NamedTensor& entry : layer.state_dict()) result.push_back(entry.tensor.version());
    return result;
  };
  const std::vector<std::uint64_t> before = versions();
  layer.eval();
  layer(x);
  CHECK(versions() == before);
  layer.train();
  layer(x);
  const std::vector<std::uint64_t> after = versions();
  CHECK(after ==
        std::vector<std::uint64_t>{before[0], before[1], before[2] + 1, before[3] + 1, before[4] + 1});
  // So an operation on them notices.
  Tensor scale = Tensor::ones({2}, {.device = device}).set_requires_grad();
  const Tensor used = sum(layer.state_dict()[2].tensor * scale);
  layer(x);
  check_error([&] { used.backward(); }, {"mul", "a", "overwritten"});
}

TEST_CASE("A gradient that is added to in place counts as overwritten", "[saved]") {
  const Device device = GENERATE(from_range(devices()));
  const Tensor x = random({3}, DType::float32, 1, device).set_requires_grad();
  sum(x * 2).backward();
  const std::uint64_t before = x.grad().version();
  sum(x * 3).backward();
  CHECK(x.grad().version() == before + 1);
}

TEST_CASE("An operation of a user's own saves as the library's do", "[saved]") {
  const auto square = [](const Tensor& x, const Tensor& none) {
    Tensor y = Tensor::empty(x.shape(), {.dtype = DType::float64});
    for (std::int64_t i = 0; i < x.numel(); ++i)
      y.data<double>()[i] = x.data<double>()[i] * x.data<double>()[i];
    const auto rule = [saved = SavedTensor(x, "x"),
                       absent = SavedTensor(none, "none")](const BackwardCall& call) {
      CHECK(call.operation == "square");
      CHECK(!absent.defined());
      CHECK(!absent.unpack(call).defined());
      CHECK(saved.defined());
      CHECK(saved.shape() == Shape{3});
      CHECK(saved.options().dtype == DType::float64);
      const Tensor x = saved.unpack(call);
      CHECK(!x.requires_grad());
      return std::vector<Tensor>{x * 2 * call.grad_output, {}};
    };
    return record("square", y, {x, none}, rule);
  };
  Tensor x = random({3}).set_requires_grad();
  sum(square(x, {})).backward();
  CHECK(same_bits(x.grad(), x.detach() * 2));
  const Tensor loss = sum(square(x, {}));
  x.copy_from(Tensor::zeros({3}, {.dtype = DType::float64}));
  check_error([&] { loss.backward(); }, {"square: x, float64 [3] on cpu", "version 1, expected version 0"});
  // Twice through a retained graph, and in between.
  const Tensor again = sum(square(x, {}));
  again.backward(true);
  again.backward(true);
  x.bump_version();
  check_error([&] { again.backward(); }, {"square", "x", "overwritten"});
}

TEST_CASE("What is saved does not keep the graph alive", "[saved]") {
  const auto kept = std::make_shared<int>(0);
  const Tensor x = random({3}).set_requires_grad();
  Tensor y = record("keeping", x.clone(), {x},
                    [kept](const BackwardCall& call) -> std::vector<Tensor> { return {call.grad_output}; });
  const SavedTensor saved(y, "y");
  y = {};
  CHECK(kept.use_count() == 1);
  CHECK(saved.defined());
}

TEST_CASE("A module that changes its dtype between forward and backward", "[saved]") {
  const Device device = GENERATE(from_range(devices()));
  INFO(device.name());
  nn::Sequential network{nn::Conv2d(1, 4, 3), nn::BatchNorm2d(4), nn::ReLU(), nn::Flatten(),
                         nn::Linear(16, 2)};
  network.to(device);
  Tensor x = random({3, 1, 4, 4}, DType::float32, 1, device).set_requires_grad();
  for (const bool training : {true, false}) {
    network.train(training);
    for (const DType dtype : {DType::float64, DType::float32}) {
      const Tensor loss = sum(network(x.detach().to(network.parameters()[0].dtype())));
      network.to(dtype);
      check_error([&] { loss.backward(); }, {"linear: input", "in forward", "now it is"});
    }
  }
  // Where no parameter wants a gradient the input gets the right one.
  for (Tensor& parameter : network.parameters()) parameter.set_requires_grad(false);
  const auto input_gradient = [&](bool change) {
    network.to(DType::float32);
    x.set_grad({});
    const Tensor loss = sum(network(x));
    if (change) network.to(DType::float64);
    loss.backward();
    return x.grad();
  };
  network.eval();
  const Tensor expected = input_gradient(false);
  CHECK(same_bits(input_gradient(true), expected));
}

}  // namespace
}  // namespace kg
