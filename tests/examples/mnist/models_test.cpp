#include "models.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/autograd.h"

namespace mnist {
namespace {

namespace nn = kg::nn;

struct NamedShape {
  std::string name;
  kg::Shape shape;
  bool operator==(const NamedShape&) const = default;
};

std::ostream& operator<<(std::ostream& out, const NamedShape& entry) {
  return out << entry.name << " " << kg::to_string(entry.shape);
}

std::vector<NamedShape> block(const std::string& number, std::int64_t in, std::int64_t out) {
  return {{number + ".0.weight", {out, in, 3, 3}},
          {number + ".2.weight", {out}},
          {number + ".2.bias", {out}},
          {number + ".2.running_mean", {out}},
          {number + ".2.running_var", {out}},
          {number + ".2.num_batches_tracked", {}}};
}

void append(std::vector<NamedShape>& list, const std::vector<NamedShape>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

TEST_CASE("s7_final's tensors have PyTorch's names and shapes", "[models]") {
  std::vector<NamedShape> expected;
  append(expected, block("0", 1, 4));
  append(expected, block("1", 4, 8));
  append(expected, block("2", 8, 16));
  append(expected, {{"3.0.weight", {8, 16, 1, 1}}});
  append(expected, block("4", 8, 16));
  append(expected, block("5", 16, 16));
  append(expected, block("6", 16, 16));
  append(expected, {{"7.weight", {10, 16, 1, 1}}});

  std::vector<NamedShape> actual;
  for (const nn::NamedTensor& entry : find_recipe("s7_final").network().state_dict())
    actual.push_back({entry.name, entry.tensor.shape()});
  CHECK(actual == expected);
  CHECK(find_recipe("s7_final").network().parameter_count() == 7676);
}

TEST_CASE("s7_final's layers come in the published order and sizes", "[models]") {
  std::vector<NamedShape> expected;
  const auto conv_block = [&](std::int64_t channels, std::int64_t size) {
    for (const char* layer : {"Conv2d", "ReLU", "BatchNorm2d", "Dropout", "ConvBlock"})
      expected.push_back({layer, {3, channels, size, size}});
  };
  conv_block(4, 26);
  conv_block(8, 24);
  conv_block(16, 22);
  append(expected,
         {{"Conv2d", {3, 8, 22, 22}}, {"MaxPool2d", {3, 8, 11, 11}}, {"TransitionBlock", {3, 8, 11, 11}}});
  conv_block(16, 9);
  conv_block(16, 7);
  conv_block(16, 7);
  append(expected, {{"Conv2d", {3, 10, 7, 7}},
                    {"AvgPool2d", {3, 10, 1, 1}},
                    {"Functional", {3, 10}},
                    {"Sequential", {3, 10}}});

  nn::Sequential network = find_recipe("s7_final").network();
  std::vector<NamedShape> actual;
  const nn::ForwardHook hook([&](const nn::Module& module, const kg::Tensor& output) {
    actual.push_back({std::string(module.type_name()), output.shape()});
  });
  network(kg::Tensor::zeros({3, 1, 28, 28}));
  CHECK(actual == expected);
}

TEST_CASE("s7_final drops 10 % after two blocks and nothing elsewhere", "[models]") {
  const nn::Sequential network = find_recipe("s7_final").network();
  std::vector<double> dropouts;
  for (const auto& [name, child] : network.children())
    for (const auto& [inner_name, layer] : child->children())
      if (const auto* dropout = dynamic_cast<const nn::Dropout*>(layer.get()))
        dropouts.push_back(dropout->p());
  CHECK(dropouts == std::vector<double>{0, 0, 0, 0.1, 0.1, 0});
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

TEST_CASE("s7_final is trained as published", "[models]") {
  const Recipe& recipe = find_recipe("s7_final");
  CHECK(recipe.sgd.learning_rate == 0.04);
  CHECK(recipe.sgd.momentum == 0.9);
  CHECK(recipe.sgd.dampening == 0);
  CHECK(recipe.sgd.weight_decay == 0);
  CHECK_FALSE(recipe.sgd.nesterov);
  CHECK(recipe.schedule.step_size == 7);
  CHECK(recipe.schedule.gamma == 0.1);
  CHECK(recipe.batch_size == 128);
  CHECK(recipe.epochs == 15);

  const Augmentation published(
      {RandomAffine{.degrees = 20, .translate = {0.1, 0.1}, .scale = {0.9, 1.1}},
       ColorJitter{.brightness = 0.1, .contrast = 0.1, .saturation = 0.1, .hue = 0.1}});
  const Augmentation actual = recipe.augmentation();
  for (std::uint32_t sample = 0; sample < 20; ++sample) {
    const auto pixels = [&](const Augmentation& augmentation) {
      kg::RandomStream noise(1, kg::RandomPurpose::user, 0, sample);
      Image image, scratch;
      image.resize(28, 28);
      for (std::uint8_t& pixel : image.pixels) pixel = static_cast<std::uint8_t>(noise.below(256));
      kg::RandomStream random(1, kg::RandomPurpose::augmentation, 1, sample);
      augmentation.apply(image, scratch, random);
      return image.pixels;
    };
    CHECK(pixels(actual) == pixels(published));
  }
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
