#include "support.h"

namespace kg {
namespace {

using namespace testing;

nn::Sequential network() {
  return {nn::Sequential(nn::Conv2d(1, 4, 3, {.bias = false}), nn::ReLU(), nn::BatchNorm2d(4)),
          nn::MaxPool2d(2), nn::Flatten(), nn::Linear(36, 10)};
}

std::vector<std::string> names_of(const nn::StateDict& state) {
  std::vector<std::string> names;
  for (const nn::NamedTensor& entry : state) names.push_back(entry.name);
  return names;
}

nn::StateDict copy_of(const nn::StateDict& state) {
  nn::StateDict copy;
  for (const auto& [name, tensor] : state) copy.push_back({name, tensor.clone()});
  return copy;
}

bool equal(const nn::StateDict& a, const nn::StateDict& b) {
  return std::ranges::equal(a, b, [](const nn::NamedTensor& x, const nn::NamedTensor& y) {
    return x.name == y.name && same_bits(x.tensor, y.tensor);
  });
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

TEST_CASE("load_state_dict copies what another module has, whatever the order", "[nn]") {
  manual_seed(1);
  nn::Sequential from = network(), to = network();
  from(random({5, 1, 8, 8}, DType::float32));
  CHECK(!equal(from.state_dict(), to.state_dict()));
  const std::vector<Tensor> held = to.parameters();
  nn::StateDict state = from.state_dict();
  std::reverse(state.begin(), state.end());
  to.load_state_dict(state);
  CHECK(equal(from.state_dict(), to.state_dict()));
  CHECK(same_bits(held[0], from.parameters()[0]));
  CHECK(held[0].requires_grad());
  held[0].detach().copy_from(Tensor::zeros(held[0].shape()));
  CHECK(!equal(from.state_dict(), to.state_dict()));
}

TEST_CASE("load_state_dict that fails leaves the module as it was", "[nn][errors]") {
  nn::Sequential module = network();
  const nn::StateDict before = copy_of(module.state_dict());
  nn::StateDict state = copy_of(before);
  for (nn::NamedTensor& entry : state)
    entry.tensor = Tensor::full(entry.tensor.shape(), 9, {entry.tensor.dtype()});
  const auto check = [&](std::initializer_list<const char*> parts, int line = __builtin_LINE()) {
    check_error([&] { module.load_state_dict(state); }, parts, line);
    CHECK(equal(module.state_dict(), before));
  };
  SECTION("a name is missing") {
    state.pop_back();
    check({"load_state_dict", "\"3.bias\" is missing"});
  }
  SECTION("a name is unexpected") {
    state.push_back({"4.weight", Tensor::zeros({1})});
    check({"load_state_dict", "no \"4.weight\""});
  }
  SECTION("a name is given twice") {
    state.push_back(state.front());
    check({"load_state_dict", "\"0.0.weight\" is given twice"});
  }
  SECTION("a shape differs") {
    state.back().tensor = Tensor::zeros({11});
    check({"load_state_dict", "\"3.bias\"", "float32 [11]", "float32 [10]"});
  }
  SECTION("a dtype differs") {
    state.back().tensor = Tensor::zeros({10}, {.dtype = DType::float64});
    check({"load_state_dict", "\"3.bias\"", "float64 [10]", "float32 [10]"});
  }
  SECTION("a tensor is undefined") {
    state.back().tensor = {};
    check({"undefined"});
  }
  SECTION("nothing is given") {
    state.clear();
    check({"load_state_dict", "\"0.0.weight\" is missing"});
  }
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
