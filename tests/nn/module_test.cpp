// SPDX-License-Identifier: MIT
#include "nn/network.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;

std::vector<std::string> names_of(const nn::StateDict& state) {
  std::vector<std::string> names;
  for (const nn::NamedTensor& entry : state) names.push_back(entry.name);
  return names;
}

/// A module of a user's own, with everything a module can have.
class Scale : public nn::Module {
 public:
  Scale() {
    factor_ = register_parameter("factor", Tensor::full({1}, 3));
    none_ = register_parameter("none", {});
    calls_ = register_buffer("calls", Tensor::zeros({}, {.dtype = DType::int64}));
    register_child("inner", std::make_shared<nn::Linear>(2, 2));
  }
  Tensor forward(const Tensor& x) override {
    ++*calls_.data<std::int64_t>();
    return x * factor_;
  }
  std::string_view type_name() const override { return "Scale"; }

 private:
  Tensor factor_, none_, calls_;
};

TEST_CASE("A Sequential names its parameters and buffers as PyTorch does", "[nn]") {
  CHECK(names_of(network().state_dict()) ==
        std::vector<std::string>{"0.0.weight", "0.2.weight", "0.2.bias", "0.2.running_mean",
                                 "0.2.running_var", "0.2.num_batches_tracked", "3.weight", "3.bias"});
  CHECK(names_of(network().named_parameters()) ==
        std::vector<std::string>{"0.0.weight", "0.2.weight", "0.2.bias", "3.weight", "3.bias"});
  CHECK(network().parameters().size() == 5);
  CHECK(network().parameter_count() == 36 + 8 + 370);
}

TEST_CASE("A user's module has its own names before its children's", "[nn]") {
  Scale module;
  CHECK(names_of(module.state_dict()) ==
        std::vector<std::string>{"factor", "calls", "inner.weight", "inner.bias"});
  CHECK(names_of(module.named_parameters()) ==
        std::vector<std::string>{"factor", "inner.weight", "inner.bias"});
  CHECK(module(Tensor::ones({2})).to_vector<float>() == std::vector<float>{3, 3});
  CHECK(module.state_dict()[1].tensor.item() == 1);
}

TEST_CASE("A state dict holds the module's own tensors", "[nn]") {
  nn::Linear module(2, 3);
  Tensor weight = module.state_dict()[0].tensor;
  weight.copy_from(Tensor::ones({3, 2}));
  CHECK(to_doubles(module.parameters()[0]) == std::vector<double>(6, 1));
}

TEST_CASE("train and eval reach every child", "[nn]") {
  nn::Sequential module = network();
  const auto all_are = [&](bool training) {
    bool equal = module.is_training() == training;
    for (const auto& [name, child] : module.children()) {
      equal &= child->is_training() == training;
      for (const auto& [inner_name, inner] : child->children()) equal &= inner->is_training() == training;
    }
    return equal;
  };
  CHECK(all_are(true));
  module.eval();
  CHECK(all_are(false));
  module.train();
  CHECK(all_are(true));
  module.train(false);
  CHECK(all_are(false));
}

TEST_CASE("Copies of a module share its parameters, buffers and children", "[nn]") {
  nn::Sequential module = network();
  nn::Sequential copy = module;
  CHECK(names_of(copy.state_dict()) == names_of(module.state_dict()));
  copy(random({5, 1, 8, 8}, DType::float32));
  CHECK(equal(copy.state_dict(), module.state_dict()));
  CHECK(copy.state_dict()[5].tensor.item() == 1);
  CHECK(copy.children()[0].second == module.children()[0].second);

  nn::Linear linear(2, 3);
  nn::Linear same = linear;
  linear.parameters()[0].detach().copy_from(Tensor::zeros({3, 2}));
  CHECK(same_bits(same.parameters()[0], linear.parameters()[0]));
  const Tensor x = random({4, 2}, DType::float32);
  CHECK(same_bits(same(x).detach(), linear(x).detach()));
}

TEST_CASE("Copies of a module train and infer together", "[nn]") {
  const auto check = [](auto module) {
    auto copy = module;
    auto assigned = decltype(module)(module);
    assigned = copy;
    copy.eval();
    CHECK(!module.is_training());
    CHECK(!assigned.is_training());
    module.train();
    CHECK(copy.is_training());
    auto moved = std::move(copy);
    moved.eval();
    CHECK(!module.is_training());
  };
  check(network());
  check(nn::Linear(2, 3));
  check(nn::BatchNorm2d(2));
  check(nn::Dropout(0.5));
  check(Scale());

  nn::Dropout dropout(1);
  nn::Sequential holder(dropout);
  const Tensor x = Tensor::ones({3});
  CHECK(to_doubles(dropout(x)) == std::vector<double>(3, 0));
  holder.eval();
  CHECK(to_doubles(dropout(x)) == std::vector<double>(3, 1));
}

TEST_CASE("What is registered in one copy is in all", "[nn]") {
  nn::Sequential module, copy = module;
  module.append(std::make_shared<nn::Linear>(2, 3));
  CHECK(copy.children().size() == 1);
  CHECK(names_of(copy.state_dict()) == std::vector<std::string>{"0.weight", "0.bias"});
}

/// A module that lets everybody register.
class Open : public nn::Module {
 public:
  using Module::register_buffer;
  using Module::register_child;
  using Module::register_parameter;
  Tensor forward(const Tensor& x) override { return x; }
  std::string_view type_name() const override { return "Open"; }
};

TEST_CASE("A name is registered once, whatever for", "[nn][errors]") {
  using Register = std::function<void(Open&, const std::string&)>;
  const std::vector<std::pair<std::string, Register>> all = {
      {"register_parameter",
       [](Open& m, const std::string& name) { m.register_parameter(name, Tensor::ones({1})); }},
      {"register_parameter", [](Open& m, const std::string& name) { m.register_parameter(name, {}); }},
      {"register_buffer",
       [](Open& m, const std::string& name) { m.register_buffer(name, Tensor::ones({1})); }},
      {"register_buffer", [](Open& m, const std::string& name) { m.register_buffer(name, {}); }},
      {"register_child",
       [](Open& m, const std::string& name) { m.register_child(name, std::make_shared<nn::ReLU>()); }}};
  for (const auto& first : all) {
    Open module;
    const auto fill = [&module](const auto& registration, const std::string& name) {
      return [&module, &registration, name] { registration.second(module, name); };
    };
    check_error(fill(first, ""), {first.first.c_str(), "can't be an empty string"});
    check_error(fill(first, "a.b"), {first.first.c_str(), "\"a.b\"", "can't contain \".\""});
    first.second(module, "w");
    const std::size_t entries = module.state_dict().size(), children = module.children().size();
    for (const auto& second : all)
      check_error(fill(second, "w"), {second.first.c_str(), "\"w\"", "already exists"});
    CHECK(module.state_dict().size() == entries);
    CHECK(module.children().size() == children);
  }
}

TEST_CASE("Undefined parameters and buffers have no place in the state", "[nn]") {
  Open module;
  module.register_parameter("bias", {});
  module.register_buffer("running_mean", {});
  CHECK(module.state_dict().empty());
  CHECK(module.parameters().empty());
  CHECK_NOTHROW(module.to(DType::float64));
}

TEST_CASE("Only a floating-point leaf is a parameter", "[nn][errors]") {
  Open module;
  check_error([&] { module.register_parameter("w", Tensor::ones({2}, {.dtype = DType::int64})); },
              {"register_parameter", "\"w\"", "int64 [2]"});
  check_error([&] { module.register_parameter("w", Tensor::ones({2}).set_requires_grad() * 2); },
              {"register_parameter", "\"w\"", "float32 [2]", "mul"});
  CHECK_NOTHROW(module.register_parameter("w", Tensor::ones({2})));
}

TEST_CASE("A module registers no child that is null or contains it", "[nn][errors]") {
  Open module;
  check_error([&] { module.register_child("inner", nullptr); }, {"register_child", "\"inner\"", "null"});
  check_error([&] { module.register_child("inner", std::make_shared<Open>(module)); },
              {"register_child", "\"inner\"", "is the module"});
  const auto outer = std::make_shared<Open>();
  outer->register_child("body", std::make_shared<nn::Sequential>(nn::ReLU(), module));
  check_error([&] { module.register_child("inner", outer); },
              {"register_child", "\"inner\"", "contains", "\"body.1\""});
  CHECK(module.children().empty());
}

/// The message of what the call throws.
template <class Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(typeid(error) == typeid(Error));
    return error.what();
  }
  return "nothing was thrown";
}

/// Calls its copy of what it registered, as a class with members does.
class Residual : public nn::Module {
 public:
  Residual() { register_child("body", std::make_shared<nn::Sequential>(body_)); }
  Tensor forward(const Tensor& x) override { return body_(x) + x; }
  std::string_view type_name() const override { return "Residual"; }

 private:
  nn::Sequential body_{nn::Linear(3, 3), nn::ReLU(), nn::Linear(3, 2)};
};

TEST_CASE("An error inside a network names the module at fault", "[nn][errors]") {
  using nn::BatchNorm2d, nn::Conv2d, nn::Dropout, nn::Flatten, nn::Functional, nn::Linear, nn::ReLU,
      nn::Sequential;
  const bool hooked = GENERATE(false, true);
  const auto start = [&](Sequential network, const Tensor& x) {
    const auto call = [&] { network(x); };
    if (!hooked) return message_of(call);
    const nn::ForwardHook hook([](const nn::Module&, const Tensor&) {});
    return message_of(call);
  };
  const auto check = [&](const Sequential& network, const Tensor& x, const std::string& expected) {
    const std::string message = start(network, x);
    INFO(message);
    CHECK(message.starts_with(expected));
    // Named once.
    const std::string type = expected.substr(0, expected.find(':') + 1).substr(expected.find(' ') + 1);
    CHECK(message.find(type) == message.rfind(type));
  };
  const Tensor image = Tensor::ones({2, 3, 4, 4}), row = Tensor::ones({2, 3});
  const Tensor integers = Tensor::ones({2, 3, 4, 4}, {.dtype = DType::int64});
  check({Conv2d(4, 2, 1)}, image, "0 Conv2d: conv2d: input [2, 3, 4, 4] has 3 channels");
  check({ReLU(), Linear(5, 2)}, row, "1 Linear: linear: input is float32 [2, 3] on cpu");
  check({ReLU(), Sequential(ReLU(), Sequential(Flatten(), Linear(5, 2)))}, row, "1.1.1 Linear: linear: ");
  // Of a fused run too the one at fault is named, wherever in the run it stands.
  check({BatchNorm2d(7)}, image, "0 BatchNorm2d: batch_norm: input");
  check({Flatten(), ReLU(), Sequential(ReLU(), BatchNorm2d(3), ReLU(), Dropout(0.5))}, image,
        "2.1 BatchNorm2d: batch_norm: input is float32 [2, 48] on cpu");
  check({ReLU(), Dropout(0.5), Sequential(ReLU(), BatchNorm2d(8), ReLU())}, image,
        "2.1 BatchNorm2d: batch_norm: input is float32 [2, 3, 4, 4] on cpu with 3 channels, expected 8 "
        "channels");
  check({ReLU(), BatchNorm2d(3)}, integers, "0 ReLU: relu: input is int64");
  check({BatchNorm2d(3), ReLU()}, integers, "0 BatchNorm2d: batch_norm: input is int64");
  check({ReLU(), BatchNorm2d(3)}, Tensor(), "0 ReLU: relu: input is undefined");
  // A module that its class holds as a member beside the child of that name.
  check({ReLU(), Residual()}, Tensor::ones({2, 4}), "1.body.0 Linear: linear: input");
  check({ReLU(), Residual()}, row, "1 Residual: add: ");
  // One of several handles to the same weights.
  const Linear shared(3, 3);
  check({shared, Functional([](const Tensor& x) {
           return x.reshape({3, 2});
         }),
         shared},
        row, "2 Linear: linear: ");
  // What is not registered has its type for a name.
  check({ReLU(), Functional([](const Tensor& x) { return Linear(5, 2)(x); })}, row,
        "1 Functional: Linear: linear: ");
  check({ReLU(), Functional([](const Tensor& x) { return Sequential(ReLU(), Linear(5, 2))(x); })}, row,
        "1 Functional: Sequential: 1 Linear: linear: ");
  CHECK(message_of([&] { Linear(5, 2)(row); }).starts_with("Linear: linear: input"));
  CHECK(
      message_of([&] { BatchNorm2d(7).forward_fused(image, {}); }).starts_with("BatchNorm2d: batch_norm: "));
}

TEST_CASE("Modules called on other threads are named there, and where the error arrives", "[nn][errors]") {
  const Tensor row = Tensor::ones({2, 3});
  nn::Sequential inner(nn::ReLU(), nn::Linear(5, 2));
  nn::Sequential outer(nn::ReLU(), nn::Functional([&](const Tensor& x) {
                         parallel_for(4, [&](std::int64_t) { inner(x); });
                         return x;
                       }));
  const std::string message = message_of([&] { outer(row); });
  INFO(message);
  CHECK(message.starts_with("1 Functional: "));
  CHECK(message.find("1 Linear: linear: ") != std::string::npos);
}

TEST_CASE("After an error a module is named as before", "[nn][errors]") {
  nn::Sequential network(nn::ReLU(), nn::Linear(5, 2));
  const Tensor row = Tensor::ones({2, 3});
  const std::string first = message_of([&] { network(row); });
  CHECK(message_of([&] { network(row); }) == first);
  CHECK(message_of([&] { nn::Linear(5, 2)(row); }).starts_with("Linear: "));
}

TEST_CASE("Exceptions that are no plain Error pass through a network unchanged", "[nn][errors]") {
  struct Own : Error {
    using Error::Error;
  };
  const auto throwing = [](const auto& exception) {
    return nn::Sequential(nn::ReLU(),
                          nn::Functional([exception](const Tensor&) -> Tensor { throw exception; }));
  };
  const Tensor x = Tensor::ones({1});
  CHECK_THROWS_AS(throwing(std::out_of_range("mine"))(x), std::out_of_range);
  CHECK_THROWS_AS(throwing(7)(x), int);
  CHECK_THROWS_AS(throwing(Own("mine"))(x), Own);
  CHECK_THROWS_WITH(throwing(Own("mine"))(x), "mine");
  CHECK_THROWS_WITH(throwing(Error("mine"))(x), "1 Functional: mine");
}

TEST_CASE("Parameters that several modules share are listed once, in the state dict under every name",
          "[nn]") {
  nn::Linear shared(3, 3);
  const nn::Sequential network{shared, nn::ReLU(), shared};
  CHECK(network.parameter_count() == 12);
  CHECK(network.parameters().size() == 2);
  CHECK(network.state_dict().size() == 4);
}

TEST_CASE("A module converts to floating-point types only", "[nn][errors]") {
  nn::Linear layer(3, 2);
  check_error([&] { layer.to(DType::int32); }, {"Module::to", "int32", "float32 or float64"});
}

TEST_CASE("A module converts to another dtype, and handles follow", "[nn]") {
  nn::Sequential module = network();
  const std::vector<Tensor> held = module.parameters();
  const std::vector<double> before = to_doubles(held[0]);
  sum(module(random({5, 1, 8, 8}, DType::float32))).backward();
  CHECK(held[0].grad().defined());
  module.to(DType::float64);
  CHECK(held[0].dtype() == DType::float64);
  CHECK(to_doubles(held[0]) == before);
  CHECK(held[0].requires_grad());
  CHECK(!held[0].grad().defined());
  for (const nn::NamedTensor& entry : module.state_dict())
    CHECK(entry.tensor.dtype() == (entry.name == "0.2.num_batches_tracked" ? DType::int64 : DType::float64));
  CHECK(module(random({5, 1, 8, 8})).dtype() == DType::float64);
  for (const Device device : devices()) {
    module.to(device);
    CHECK(held[0].device() == device);
    CHECK(module(random({5, 1, 8, 8}, DType::float64, 0, device)).device() == device);
  }
}

TEST_CASE("A module moves to another device with everything it has, counters included", "[nn]") {
  for (const Device device : devices()) {
    INFO(device.name());
    nn::Sequential module = network();
    module(random({5, 1, 8, 8}, DType::float32));
    const nn::StateDict before = copy_of(module.state_dict());
    module.to(device);
    CHECK(equal(module.state_dict(), before));
    for (const nn::NamedTensor& entry : module.state_dict()) {
      INFO(entry.name);
      CHECK(entry.tensor.device() == device);
    }
    module(random({5, 1, 8, 8}, DType::float32, 0, device));
    CHECK(module.state_dict()[5].tensor.item() == 2);
    module.to(Device::cpu());
    module(random({5, 1, 8, 8}, DType::float32));
    CHECK(module.state_dict()[5].tensor.item() == 3);
    CHECK(module.state_dict()[5].tensor.device() == Device::cpu());
  }
}

TEST_CASE("A whole network passes the gradient check", "[nn][gradcheck]") {
  manual_seed(3);
  nn::Sequential module(nn::Conv2d(2, 3, 3, {.padding = 1}), nn::BatchNorm2d(3), nn::AvgPool2d(2),
                        nn::Flatten(), nn::Linear(12, 4), nn::LogSoftmax());
  module.to(DType::float64);
  std::vector<Tensor> inputs = {random({3, 2, 4, 4})};
  for (const Tensor& parameter : module.parameters()) inputs.push_back(parameter.detach());
  const Tensor labels = Tensor::from(std::vector<std::int64_t>{0, 3, 1}, {3});
  const Function function = [&](const std::vector<Tensor>& t) {
    const Tensor x = conv2d(t[0], t[1], t[2], {.padding = 1});
    const Tensor y = batch_norm(x, t[3], t[4], {}, {}, {.training = true});
    return nll_loss(log_softmax(linear(flatten(avg_pool2d(y, 2), 1), t[5], t[6])), labels);
  };
  CHECK(difference(nll_loss(module(inputs[0]).detach(), labels), function(inputs), 1e-14) == "");
  check_gradients(function, inputs);
}

TEST_CASE("A hook sees every module's output, children before parents", "[nn]") {
  nn::Sequential module = network();
  std::vector<std::string> seen;
  const Tensor x = random({5, 1, 8, 8}, DType::float32);
  CHECK(nn::ForwardHook::active() == nullptr);
  {
    const nn::ForwardHook hook([&](const nn::Module& m, const Tensor& output) {
      seen.push_back(std::string(m.type_name()) + " " + to_string(output.shape()));
    });
    CHECK(nn::ForwardHook::active() == &hook);
    module(x);
    {
      int inner_calls = 0;
      const nn::ForwardHook inner([&](const nn::Module&, const Tensor&) { ++inner_calls; });
      module(x);
      CHECK(inner_calls == 8);
    }
    CHECK(nn::ForwardHook::active() == &hook);
  }
  CHECK(nn::ForwardHook::active() == nullptr);
  module(x);
  CHECK(seen == std::vector<std::string>{"Conv2d [5, 4, 6, 6]", "ReLU [5, 4, 6, 6]",
                                         "BatchNorm2d [5, 4, 6, 6]", "Sequential [5, 4, 6, 6]",
                                         "MaxPool2d [5, 4, 3, 3]", "Flatten [5, 36]", "Linear [5, 10]",
                                         "Sequential [5, 10]"});
}

}  // namespace
}  // namespace kg
