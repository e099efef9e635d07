// SPDX-License-Identifier: MIT
#include "nn/network.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using Names = std::vector<std::string>;

/// Another network's state, with statistics that a batch has moved.
nn::StateDict example_state() {
  manual_seed(1);
  nn::Sequential from = network();
  from(random({5, 1, 8, 8}, DType::float32));
  return copy_of(from.state_dict());
}

nn::StateDict with_prefix(const std::string& prefix, nn::StateDict state) {
  for (nn::NamedTensor& entry : state) entry.name = prefix + entry.name;
  return state;
}

/// The state without a name, or with another tensor under it.
nn::StateDict without(nn::StateDict state, const std::string& name) {
  std::erase_if(state, [&](const nn::NamedTensor& entry) { return entry.name == name; });
  return state;
}
nn::StateDict with(nn::StateDict state, const std::string& name, const Tensor& tensor) {
  state = without(std::move(state), name);
  state.push_back({name, tensor});
  return state;
}

TEST_CASE("load_state_dict copies what another module has, whatever the order", "[nn]") {
  nn::Sequential to = network();
  nn::StateDict state = example_state();
  CHECK(!equal(state, to.state_dict()));
  const std::vector<Tensor> held = to.parameters();
  std::reverse(state.begin(), state.end());
  const nn::LoadResult result = to.load_state_dict(state);
  CHECK(result.missing_keys.empty());
  CHECK(result.unexpected_keys.empty());
  CHECK(result.stripped_prefix.empty());
  CHECK(equal(example_state(), to.state_dict()));
  CHECK(same_bits(held[0], example_state()[0].tensor));
  CHECK(held[0].requires_grad());
  held[0].detach().copy_from(Tensor::zeros(held[0].shape()));
  CHECK(equal(example_state(), copy_of(example_state())));
}

TEST_CASE("load_state_dict that fails leaves the module as it was and lists all that does not fit",
          "[nn][errors]") {
  nn::Sequential module = network();
  const nn::StateDict before = copy_of(module.state_dict());
  nn::StateDict state = example_state();
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
  SECTION("as many values in another shape") {
    state = with(state, "3.weight", Tensor::zeros({36, 10}));
    check({"load_state_dict", "\"3.weight\"", "float32 [36, 10]", "float32 [10, 36]"});
  }
  SECTION("integers for learned numbers") {
    state.back().tensor = Tensor::zeros({10}, {.dtype = DType::int32});
    check({"load_state_dict", "\"3.bias\"", "int32 [10]", "float32 [10]"});
  }
  SECTION("a tensor is undefined") {
    state.back().tensor = {};
    check({"\"3.bias\" is undefined"});
  }
  SECTION("nothing is given") {
    state.clear();
    check({"load_state_dict", "\"0.0.weight\" is missing", "\"3.bias\" is missing"});
  }
  SECTION("everything at once") {
    state = without(without(state, "3.bias"), "0.2.running_var");
    state = with(state, "0.0.weight", Tensor::zeros({4, 1, 5, 5}));
    state = with(state, "0.2.bias", Tensor::full({4}, 1e300, {.dtype = DType::float64}));
    state = with(with(state, "4.weight", Tensor::zeros({1})), "mask", Tensor::zeros({1}));
    state.push_back({"0.2.weight", Tensor::zeros({4})});
    check({"\"3.bias\" is missing", "\"0.2.running_var\" is missing",
           "\"0.0.weight\" is float32 [4, 1, 5, 5]", "\"0.2.bias\" holds 1e+300, which float32 cannot hold",
           "no \"4.weight\"", "no \"mask\"", "\"0.2.weight\" is given twice"});
  }
  SECTION("names that command a terminal") {
    state.push_back({"evil\x1b[2J", Tensor::zeros({1})});
    check({"no \"evil\\x1b[2J\""});
  }
}

TEST_CASE("An error about very many names ends", "[nn][errors]") {
  nn::Linear module(2, 2);
  nn::StateDict state = copy_of(module.state_dict());
  for (int i = 0; i < 100'000; ++i) state.push_back({"extra" + std::to_string(i), Tensor::zeros({1})});
  try {
    module.load_state_dict(state);
    FAIL("nothing was thrown");
  } catch (const Error& error) {
    const std::string text = error.what();
    CHECK(text.size() < 100'000);
    CHECK(text.find("and 99000 more") != std::string::npos);
  }
}

TEST_CASE("Where it is not strict, load_state_dict returns the names that it does not load", "[nn]") {
  nn::Sequential module = network();
  const nn::StateDict before = copy_of(module.state_dict()), state = example_state();
  const nn::StateDict changed =
      with(without(without(state, "3.bias"), "0.0.weight"), "mask", Tensor::zeros({1}));
  const nn::LoadResult result = module.load_state_dict(changed, {.strict = false});
  CHECK(result.missing_keys == Names{"0.0.weight", "3.bias"});
  CHECK(result.unexpected_keys == Names{"mask"});
  const nn::StateDict after = module.state_dict();
  for (std::size_t i = 0; i < after.size(); ++i) {
    INFO(after[i].name);
    const bool missing = after[i].name == "3.bias" || after[i].name == "0.0.weight";
    CHECK(same_bits(after[i].tensor, missing ? before[i].tensor : state[i].tensor));
  }
  // A shape that differs is an error all the same, and then everything is told.
  check_error(
      [&] { module.load_state_dict(with(changed, "3.weight", Tensor::zeros({11})), {.strict = false}); },
      {"\"3.weight\"", "[11]", "[10, 36]", "\"3.bias\" is missing", "\"0.0.weight\" is missing",
       "no \"mask\""});
}

TEST_CASE("load_state_dict takes floating-point numbers of any width into those of the module", "[nn]") {
  for (const Device device : devices())
    for (const DType own : {DType::float32, DType::float64})
      for (const DType given : {DType::float32, DType::float64}) {
        INFO(device.name() << ": " << name_of(given) << " into " << name_of(own));
        nn::Linear module(2, 2);
        module.to(own);
        module.to(device);
        const std::vector<double> values = {1.0 / 3, std::nan(""), -HUGE_VAL, -0.0};
        const nn::StateDict state = {{"weight", from_doubles(values, {2, 2}, given, device)},
                                     {"bias", from_doubles({1e-320, 16777217}, {2}, given)}};
        module.load_state_dict(state);
        for (std::size_t i = 0; i < state.size(); ++i) {
          CHECK(module.state_dict()[i].tensor.device() == device);
          CHECK(same_bits(module.state_dict()[i].tensor, state[i].tensor.to(Device::cpu()).to(own)));
        }
      }
}

TEST_CASE("A number that the module's dtype cannot hold is an error, not infinity", "[nn][errors]") {
  nn::Linear module(1, 1);
  const nn::StateDict before = copy_of(module.state_dict());
  const nn::StateDict state = {{"weight", Tensor::ones({1, 1})},
                               {"bias", Tensor::full({1}, 1e39, {.dtype = DType::float64})}};
  check_error([&] { module.load_state_dict(state); },
              {"load_state_dict", "\"bias\" holds 1e+39, which float32 cannot hold"});
  CHECK(equal(module.state_dict(), before));
}

TEST_CASE("num_batches_tracked is taken in every form that holds a whole number", "[nn]") {
  nn::BatchNorm2d module(2);
  nn::StateDict state = copy_of(module.state_dict());
  const auto counted = [&](const Tensor& count) {
    module.load_state_dict(with(state, "num_batches_tracked", count));
    return module.state_dict()[4].tensor.item();
  };
  for (const DType dtype : {DType::float32, DType::float64, DType::uint8, DType::int32, DType::int64}) {
    INFO(name_of(dtype));
    CHECK(counted(Tensor::full({}, 37, {.dtype = dtype})) == 37);
    CHECK(counted(Tensor::full({1}, 38, {.dtype = dtype})) == 38);
  }
  CHECK(counted(Tensor::full({}, 0x1p62, {.dtype = DType::float64})) == 0x1p62);
  const auto check = [&](const Tensor& count, const char* what) {
    check_error([&] { counted(count); }, {"\"num_batches_tracked\"", what});
    CHECK(module.state_dict()[4].tensor.item() == 0x1p62);
  };
  for (const double value : {0.5, -1e19, 0x1p63, HUGE_VAL, std::nan("")})
    check(Tensor::full({}, value, {.dtype = DType::float64}), "which int64 cannot hold");
  check(Tensor::zeros({2}, {.dtype = DType::int64}), "int64 [2]");
  check(Tensor::zeros({0}, {.dtype = DType::int64}), "int64 [0]");

  // PyTorch before 0.4 had none, and other programs leave it out.
  const nn::LoadResult result = module.load_state_dict(without(state, "num_batches_tracked"));
  CHECK(result.missing_keys.empty());
  CHECK(module.state_dict()[4].tensor.item() == 0x1p62);
  // A name that only ends alike is missing.
  class Counter : public nn::Module {
   public:
    Counter() { register_buffer("my_num_batches_tracked", Tensor::zeros({})); }
    Tensor forward(const Tensor& x) override { return x; }
    std::string_view type_name() const override { return "Counter"; }
  } counter;
  check_error([&] { counter.load_state_dict({}); }, {"\"my_num_batches_tracked\" is missing"});
}

/// A user's module with integers of a narrow type.
class Counts : public nn::Module {
 public:
  Counts() {
    register_buffer("bytes", Tensor::zeros({3}, {.dtype = DType::uint8}));
    register_buffer("ints", Tensor::zeros({3}, {.dtype = DType::int32}));
  }
  Tensor forward(const Tensor& x) override { return x; }
  std::string_view type_name() const override { return "Counts"; }
};

TEST_CASE("Integers are taken where they fit and never changed", "[nn][errors]") {
  Counts module;
  const auto load = [&](const std::string& name, const std::vector<std::int64_t>& values) {
    nn::StateDict state = copy_of(module.state_dict());
    module.load_state_dict(with(state, name, Tensor::from(values, {3})));
    return to_doubles(module.state_dict()[name == "bytes" ? 0 : 1].tensor);
  };
  CHECK(load("bytes", {0, 1, 255}) == std::vector<double>{0, 1, 255});
  CHECK(load("ints", {INT32_MIN, -1, INT32_MAX}) == std::vector<double>{INT32_MIN, -1, INT32_MAX});
  check_error([&] { load("bytes", {0, 1, 256}); }, {"\"bytes\" holds 256, which uint8 cannot hold"});
  check_error([&] { load("bytes", {0, -1, 0}); }, {"\"bytes\" holds -1, which uint8 cannot hold"});
  check_error([&] { load("ints", {0, 0, 2147483648}); }, {"\"ints\" holds 2147483648, which int32"});
  CHECK(to_doubles(module.state_dict()[0].tensor) == std::vector<double>{0, 1, 255});
}

TEST_CASE("A prefix that all names share is taken off, and said", "[nn]") {
  for (const std::string prefix :
       {"module.", "_orig_mod.", "model.", "module._orig_mod.", "net.features.", "0.0."}) {
    INFO(prefix);
    nn::Sequential module = network();
    const nn::StateDict state = with_prefix(prefix, example_state());
    const nn::LoadResult result = module.load_state_dict(state);
    CHECK(result.stripped_prefix == prefix);
    CHECK(equal(module.state_dict(), example_state()));

    const nn::LoadResult loose =
        module.load_state_dict(with(state, prefix + "mask", Tensor::zeros({1})), {.strict = false});
    CHECK(loose.stripped_prefix == prefix);
    CHECK(loose.unexpected_keys == Names{prefix + "mask"});
    check_error([&] { module.load_state_dict(without(state, prefix + "3.bias")); },
                {"\"3.bias\" is missing", prefix.c_str(), "taken off"});
  }
}

TEST_CASE("A prefix stays that not all names share or that the module has itself", "[nn][errors]") {
  nn::Sequential module = network();
  nn::StateDict state = with_prefix("module.", example_state());
  state.push_back({"n_averaged", Tensor::zeros({})});
  check_error([&] { module.load_state_dict(state); },
              {"\"0.0.weight\" is missing", "no \"module.0.0.weight\"", "no \"n_averaged\""});
  // Nor what they share by chance, up to no dot; what does not share it is not counted.
  state.back().name = "model.step";
  CHECK(module.load_state_dict(state, {.strict = false}).stripped_prefix.empty());
  // No name ends within a word.
  check_error([&] { module.load_state_dict(with_prefix("module", example_state())); },
              {"\"0.0.weight\" is missing", "no \"module0.0.weight\""});

  class Wrapper : public nn::Module {
   public:
    Wrapper() { register_child("module", std::make_shared<nn::Linear>(2, 2)); }
    Tensor forward(const Tensor& x) override { return x; }
    std::string_view type_name() const override { return "Wrapper"; }
  } wrapper;
  CHECK(wrapper.load_state_dict(copy_of(wrapper.state_dict())).stripped_prefix.empty());
  CHECK(wrapper.load_state_dict(with_prefix("module.", copy_of(wrapper.state_dict()))).stripped_prefix ==
        "module.");
  check_error([&] { wrapper.load_state_dict(without(wrapper.state_dict(), "module.bias")); },
              {"\"module.bias\" is missing"});
}

TEST_CASE("Looking for a prefix takes no time to speak of", "[nn][errors]") {
  nn::Sequential module = network();
  std::string dots;
  for (int i = 0; i < 1'000'000; ++i) dots += "a.";
  check_error(
      [&] {
        module.load_state_dict({{dots + "x", Tensor::zeros({1})}});
      },
      {"\"0.0.weight\" is missing"});
}

TEST_CASE("A tensor that could not be read matters only to a module that asks for it", "[nn][errors]") {
  nn::Sequential module = network();
  const nn::StateDict state = example_state();
  const auto unreadable = [](const std::string& name) {
    return std::map<std::string, std::string>{{name, "F8_E4M3 [10], a type that kernelgrad does not have"}};
  };
  for (const bool strict : {true, false})
    check_error(
        [&] {
          module.load_state_dict(without(state, "3.bias"),
                                 {.strict = strict, .unreadable = unreadable("3.bias")});
        },
        {"\"3.bias\" is F8_E4M3 [10], a type"});
  check_error([&] { module.load_state_dict(state, {.unreadable = unreadable("mask")}); }, {"no \"mask\""});
  const nn::LoadResult result =
      module.load_state_dict(state, {.strict = false, .unreadable = unreadable("mask")});
  CHECK(result.unexpected_keys == Names{"mask"});
  CHECK(equal(module.state_dict(), state));
}

}  // namespace
}  // namespace kg
