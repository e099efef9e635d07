// SPDX-License-Identifier: MIT
#include "models/recipe.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iomanip>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "catch.h"
#include "data/dataset.h"
#include "idx_fixture.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/kernelgrad.h"
#include "models/receptive_field.h"
#include "models/summary.h"
#include "support.h"

namespace mnist {
namespace {

namespace nn = kg::nn;
using nlohmann::json;

/// What is published of each system, in systems.json. Systems that share a network name it after the first of
/// them. A row of a network that takes more than one (ConvBlock) is there for its name and its output.
const json& published() {
  static const json systems = [] {
    std::ifstream file(KG_TEST_SYSTEMS);
    return json::parse(file);
  }();
  return systems;
}

const json& layers_of(const json& system) { return published()["networks"][std::string(system["network"])]; }

/// Calls check(system, recipe) for every published system.
template <class Check>
void for_each_system(const Check& check) {
  for (const json& system : published()["systems"]) {
    const std::string id = system["id"];
    INFO(id);
    check(system, find_recipe(id));
  }
}

// ---- networks ------------------------------------------------------------------------------------------

/// A module that was called, what it was called with, and what came of it.
struct ModuleCall {
  const nn::Module* module;
  kg::Tensor input, output;
};

/// The calls of a network's modules in the order in which they end, without those of plain containers.
std::vector<ModuleCall> calls_of(nn::Sequential& network, const kg::Tensor& input) {
  std::vector<ModuleCall> calls;
  kg::Tensor last = input;
  const nn::ForwardHook hook([&](const nn::Module& module, const kg::Tensor& output) {
    if (module.type_name() != "Sequential") calls.push_back({&module, last, output});
    last = output;
  });
  network(input);
  return calls;
}

const std::map<std::string, std::string> type_names = {{"conv", "Conv2d"},
                                                       {"batch_norm", "BatchNorm2d"},
                                                       {"relu", "ReLU"},
                                                       {"functional_relu", "Functional"},
                                                       {"dropout", "Dropout"},
                                                       {"max_pool", "MaxPool2d"},
                                                       {"avg_pool", "AvgPool2d"},
                                                       {"adaptive_avg_pool", "AdaptiveAvgPool2d"},
                                                       {"log_softmax", "Functional"},
                                                       {"ConvBlock", "ConvBlock"},
                                                       {"TransitionBlock", "TransitionBlock"}};

/// Checks what the type of a module leaves open.
void check_arguments(const json& layer, const ModuleCall& call) {
  const auto is = [](const kg::Pair& pair, std::int64_t value) { return pair.h == value && pair.w == value; };
  if (const auto* conv = dynamic_cast<const nn::Conv2d*>(call.module)) {
    CHECK(is(conv->kernel(), layer["kernel"]));
    CHECK(is(conv->options().padding, layer["padding"]));
    CHECK(is(conv->options().stride, 1));
    CHECK(is(conv->options().dilation, 1));
    CHECK(conv->options().groups == 1);
  } else if (const auto* pool = dynamic_cast<const nn::Pool2d*>(call.module)) {
    CHECK(is(pool->kernel(), layer["kernel"]));
  } else if (const auto* dropout = dynamic_cast<const nn::Dropout*>(call.module)) {
    CHECK(dropout->p() == layer["p"]);
  } else if (layer["op"] == "functional_relu") {
    CHECK(kg::testing::same_bits(call.output, kg::relu(call.input)));
  } else if (layer["op"] == "log_softmax") {
    CHECK(kg::testing::same_bits(call.output, kg::log_softmax(kg::flatten(call.input, 1))));
  }
}

TEST_CASE("every model has the published layers in their order, and their shapes and parameters",
          "[models]") {
  for_each_system([](const json& system, const Recipe& recipe) {
    nn::Sequential network = recipe.network();
    network.eval();
    const kg::NoGrad no_grad;
    const std::vector<ModuleCall> calls =
        calls_of(network, kg::testing::random({2, 1, 28, 28}, kg::DType::float32));
    std::size_t next = 0;
    for (const json& layer : layers_of(system)) {
      // The models flatten and take log-probabilities in one.
      if (layer["op"] == "flatten") continue;
      REQUIRE(next < calls.size());
      INFO("module " << next << ", " << layer);
      const ModuleCall& call = calls[next++];
      REQUIRE(call.module->type_name() == type_names.at(layer["op"]));
      kg::Shape shape = {2};
      for (const std::int64_t extent : layer["out"]) shape.push_back(extent);
      CHECK(call.output.shape() == shape);
      if (layer.contains("parameters")) CHECK(call.module->parameter_count() == layer["parameters"]);
      check_arguments(layer, call);
    }
    CHECK(next == calls.size());
    CHECK(network.parameter_count() == system["parameters"]);
  });
}

TEST_CASE("every model has the published receptive fields", "[models]") {
  for_each_system([](const json& system, const Recipe& recipe) {
    const std::vector<ReceptiveField> rows = receptive_fields(recipe.network(), 28);
    std::size_t next = 0;
    for (const json& layer : layers_of(system)) {
      if (!layer.contains("rf")) continue;
      REQUIRE(next < rows.size());
      INFO("row " << next << ", " << layer);
      const ReceptiveField& row = rows[next++];
      CHECK(row.rf_out == layer["rf"]);
      CHECK(row.n_out == layer["out"][1]);
      if (layer.contains("jump")) CHECK(row.jump_out == layer["jump"]);
    }
    CHECK(next == rows.size());
    CHECK(rows.back().rf_out == system["receptive_field"]);
  });
}

TEST_CASE("every model's summary has the rows and the sizes of the published one", "[models]") {
  for_each_system([](const json& system, const Recipe& recipe) {
    if (!system.contains("summary")) return;
    const json& wanted = system["summary"];
    nn::Sequential network = recipe.network();
    const std::string table = summary_table(network, {1, 28, 28});
    INFO(table);
    // Above and below the rows there are three and ten lines.
    CHECK(std::count(table.begin(), table.end(), '\n') == 13 + wanted["rows"].get<int>());
    const auto has_line = [&](const char* name, const json& value) {
      std::ostringstream line;
      line << "\n" << name << ": " << std::fixed << std::setprecision(2) << value.get<double>() << "\n";
      return contains(table, line.str());
    };
    CHECK(has_line("Forward/backward pass size (MB)", wanted["forward_backward_mb"]));
    CHECK(has_line("Params size (MB)", wanted["parameters_mb"]));
    CHECK(has_line("Estimated Total Size (MB)", wanted["total_mb"]));
  });
}

TEST_CASE("s7_final's tensors have PyTorch's names", "[models]") {
  std::vector<std::string> expected;
  for (const int block : {0, 1, 2, 4, 5, 6})
    for (const char* tensor :
         {"0.weight", "2.weight", "2.bias", "2.running_mean", "2.running_var", "2.num_batches_tracked"})
      expected.push_back(std::to_string(block) + "." + tensor);
  expected.insert(expected.begin() + 18, "3.0.weight");
  expected.push_back("7.weight");
  std::vector<std::string> actual;
  for (const nn::NamedTensor& entry : find_recipe("s7_final").network().state_dict())
    actual.push_back(entry.name);
  CHECK(actual == expected);
}

TEST_CASE("every model gives log-probabilities of ten classes", "[models]") {
  for (const Recipe& recipe : recipes()) {
    INFO(recipe.id);
    nn::Sequential network = recipe.network();
    const kg::NoGrad no_grad;
    for (const bool training : {true, false}) {
      network.train(training);
      const kg::Tensor output = network(kg::Tensor::ones({2, 1, 28, 28}));
      REQUIRE(output.shape() == kg::Shape{2, 10});
      const std::vector<float> values = output.to_vector<float>();
      for (std::size_t row = 0; row < 2; ++row) {
        double sum = 0;
        for (std::size_t i = 0; i < 10; ++i) sum += std::exp(values[row * 10 + i]);
        CHECK(std::abs(sum - 1) <= 1e-5);
      }
    }
  }
}

// ---- recipes -------------------------------------------------------------------------------------------

/// What each epoch starts with: learning rate and momentum. The test losses never improve.
std::vector<std::pair<double, double>> course(const Recipe& recipe, int batches) {
  kg::training::Sgd sgd({}, recipe.sgd);
  const auto scheduler =
      kg::training::make_scheduler(recipe.schedule, sgd, std::int64_t{recipe.epochs} * batches);
  std::vector<std::pair<double, double>> found;
  for (int epoch = 0; epoch < recipe.epochs; ++epoch) {
    found.emplace_back(sgd.learning_rate(), sgd.momentum());
    for (int batch = 0; batch < batches; ++batch) scheduler->after_batch();
    scheduler->after_epoch(1);
  }
  return found;
}

void check_schedule(const json& wanted, const Recipe& recipe) {
  if (wanted.is_null()) {
    CHECK(std::holds_alternative<std::monostate>(recipe.schedule));
  } else if (wanted["name"] == "StepLR") {
    const auto* options = std::get_if<kg::training::StepLrOptions>(&recipe.schedule);
    REQUIRE(options);
    CHECK(options->step_size == wanted["step_size"]);
    CHECK(options->gamma == wanted["gamma"]);
  } else if (wanted["name"] == "ReduceLROnPlateau") {
    const auto* options = std::get_if<kg::training::ReduceLrOnPlateauOptions>(&recipe.schedule);
    REQUIRE(options);
    CHECK(options->factor == wanted["factor"]);
    CHECK(options->patience == wanted["patience"]);
    CHECK(options->threshold == wanted["threshold"]);
    CHECK(options->min_lr == wanted["min_lr"]);
    CHECK(options->epsilon == wanted["eps"]);
  } else {
    const auto* options = std::get_if<kg::training::OneCycleLrOptions>(&recipe.schedule);
    REQUIRE(options);
    CHECK(options->pct_start == wanted["pct_start"]);
    CHECK(options->div_factor == wanted["div_factor"]);
    CHECK(options->final_div_factor == wanted["final_div_factor"]);
    CHECK(options->base_momentum == wanted["base_momentum"]);
    CHECK(options->max_momentum == wanted["max_momentum"]);
    CHECK((options->step == kg::training::StepEvery::epoch) == (wanted["step"] == "epoch"));
    // The published log prints the rates.
    const auto found = course(recipe, 938);
    REQUIRE(found.size() == wanted["learning_rates"].size());
    for (std::size_t epoch = 0; epoch < found.size(); ++epoch) {
      CHECK(std::abs(found[epoch].first - wanted["learning_rates"][epoch].get<double>()) <= 1e-18);
      CHECK(std::abs(found[epoch].second - wanted["momenta"][epoch].get<double>()) <= 1e-15);
    }
  }
}

TEST_CASE("every system is trained as published", "[models]") {
  for_each_system([](const json& system, const Recipe& recipe) {
    CHECK(recipe.batch_size == system["batch_size"]);
    CHECK(recipe.epochs == system["epochs"]);
    CHECK(recipe.sgd.learning_rate == system["learning_rate"]);
    CHECK(recipe.sgd.momentum == system["momentum"]);
    CHECK(recipe.sgd.dampening == 0);
    CHECK(recipe.sgd.weight_decay == 0);
    CHECK_FALSE(recipe.sgd.nesterov);
    check_schedule(system["schedule"], recipe);
  });
}

TEST_CASE("every system comes with the published figures", "[models]") {
  const auto equal = [](const json& wanted, const char* name, const auto& actual) {
    INFO(name);
    CHECK(actual.has_value() == wanted.contains(name));
    if (actual && wanted.contains(name)) CHECK(*actual == wanted[name]);
  };
  for_each_system([&](const json& system, const Recipe& recipe) {
    const json& wanted = system["published"];
    const Published& actual = recipe.published;
    equal(wanted, "claimed", actual.claimed);
    equal(wanted, "best", actual.best);
    equal(wanted, "last_five_mean", actual.last_five_mean);
  });
}

Range range(const json& transform, const char* name, const Range& otherwise) {
  return transform.contains(name) ? Range{transform[name][0], transform[name][1]} : otherwise;
}

Transform transform_of(const json& transform) {
  const std::string name = transform["name"];
  const Range turn = range(transform, "degrees", {});
  const AngleRange degrees(turn.low, turn.high);
  const auto fill = static_cast<std::uint8_t>(transform.value("fill", 0));
  if (name == "RandomAffine") {
    const Range translate = range(transform, "translate", {});
    return RandomAffine{.degrees = degrees,
                        .translate = {translate.low, translate.high},
                        .scale = range(transform, "scale", {1, 1}),
                        .fill = fill};
  }
  if (name == "RandomRotation") return RandomRotation{.degrees = degrees, .fill = fill};
  if (name == "RandomResizedCrop")
    return RandomResizedCrop{.size = transform["size"].get<int>(),
                             .scale = range(transform, "scale", {}),
                             .ratio = range(transform, "ratio", {})};
  if (name == "Resize") return Resize{.size = transform["size"].get<int>()};
  if (name == "CenterCrop") return CenterCrop{.size = transform["size"].get<int>()};
  if (name == "ColorJitter")
    return ColorJitter{.brightness = transform["brightness"],
                       .contrast = transform["contrast"],
                       .saturation = transform["saturation"],
                       .hue = transform["hue"]};
  REQUIRE(name == "RandomApply");
  RandomApply apply{.p = transform["p"], .transforms = {}};
  for (const json& inner : transform["transforms"]) apply.transforms.push_back(transform_of(inner));
  return apply;
}

Augmentation augmentation_of(const json& transforms) {
  std::vector<Transform> before;
  AugmentationOptions options;
  bool normalized = false;
  for (const json& transform : transforms) {
    if (transform["name"] == "ToTensor") continue;
    if (transform["name"] == "Normalize")
      normalized = true;
    else if (normalized)
      options.after_normalize = std::get<RandomRotation>(transform_of(transform));
    else
      before.push_back(transform_of(transform));
  }
  return Augmentation(before, options);
}

/// What the network sees of a noisy image.
std::vector<float> augmented(const Augmentation& augmentation, std::uint32_t sample) {
  kg::RandomStream noise(1, kg::RandomPurpose::user, 0, sample);
  Image image, scratch;
  image.resize(28, 28);
  for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(noise.below(256));
  kg::RandomStream random(1, kg::RandomPurpose::augmentation, 1, sample);
  std::vector<float> values(28 * 28);
  augmentation.apply(image, scratch, random, Normalize(pixel_mean, pixel_std), values.data());
  return values;
}

TEST_CASE("every system's images are augmented as published", "[models]") {
  for_each_system([](const json& system, const Recipe& recipe) {
    const Augmentation wanted = augmentation_of(system["transforms"]), actual = recipe.augmentation();
    for (std::uint32_t sample = 0; sample < 40; ++sample)
      CHECK(augmented(actual, sample) == augmented(wanted, sample));
  });
}

TEST_CASE("all published systems are there, and are listed in their order", "[models]") {
  std::vector<std::string> ids;
  for (const json& system : published()["systems"]) ids.push_back(system["id"]);
  REQUIRE(ids.size() == 34);
  REQUIRE(recipes().size() >= ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) CHECK(recipes()[i].id == ids[i]);
}

TEST_CASE("our own systems are as small as they say, and take no longer than the published ones",
          "[models]") {
  std::int64_t fewest = find_recipe("s7_final").network().parameter_count();
  for_each_system([&](const json& system, const Recipe&) {
    fewest = std::min(fewest, system["parameters"].get<std::int64_t>());
  });
  CHECK(find_recipe("kernelgrad_8k").network().parameter_count() == 7144);
  CHECK(find_recipe("kernelgrad_small").network().parameter_count() == 4426);
  CHECK(fewest > 4426);
  for (const char* id : {"kernelgrad_8k", "kernelgrad_small"}) CHECK(find_recipe(id).epochs <= 15);
}

TEST_CASE("find_recipe finds every recipe and names them all when it does not", "[models]") {
  std::set<std::string_view> ids;
  for (const Recipe& recipe : recipes()) {
    CHECK(&find_recipe(recipe.id) == &recipe);
    CHECK(ids.insert(recipe.id).second);
    CHECK_FALSE(recipe.description.empty());
  }
  for (const char* unknown : {"s8", "", "s7_fina", "S7_FINAL"}) {
    const std::string message = error_of([&] { find_recipe(unknown); });
    INFO(message);
    CHECK(contains(message, "\"" + std::string(unknown) + "\""));
    for (const Recipe& recipe : recipes()) CHECK(contains(message, std::string(recipe.id)));
  }
}

}  // namespace
}  // namespace mnist
