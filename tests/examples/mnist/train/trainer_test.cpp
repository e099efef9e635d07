// SPDX-License-Identifier: MIT
#include "train/trainer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <set>
#include <sstream>
#include <thread>

#include "catch.h"
#include "data/loader.h"
#include "digits.h"
#include "idx_fixture.h"
#include "kernelgrad/kernelgrad.h"
#include "support.h"
#include "thread_count.h"
#include "train/checkpoint_info.h"

namespace mnist {
namespace {

using namespace kg::training;

namespace nn = kg::nn;

using kg::testing::devices;

const std::atomic<bool> never = false;

Dataset small_dataset(int train_images = 200, int test_images = 50) {
  return {.train = digits(train_images, 1), .test = digits(test_images, 2)};
}

/// s7_final's recipe, with batches that suit 200 images; 200 is no multiple of 24.
Recipe small_s7() {
  Recipe recipe = find_recipe("s7_final");
  recipe.batch_size = 24;
  return recipe;
}

/// A network without randomness, whose output in training is that in inference.
nn::Sequential linear_network() { return {nn::Flatten(), nn::Linear(28 * 28, 10), nn::LogSoftmax()}; }

/// Starts with the same weights whatever the seed.
nn::Sequential fixed_network() {
  kg::manual_seed(0);
  return linear_network();
}

Recipe linear_recipe() {
  return {.id = "linear",
          .description = "",
          .network = linear_network,
          .augmentation = [] { return Augmentation(); },
          .sgd = {.learning_rate = 0.01},
          .schedule = {},
          .batch_size = 24,
          .epochs = 3,
          .published = {}};
}

/// Anew, whatever is in the folder, unless the options say otherwise.
TrainResult train_quietly(const Recipe& recipe, const Dataset& data, TrainOptions options) {
  options.quiet = true;
  if (options.existing == Existing::refuse) options.existing = Existing::overwrite;
  return train(recipe, data, options, never);
}

std::set<std::string> files_in(const std::filesystem::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.insert(entry.path().filename());
  return names;
}

const std::set<std::string> files_of_no_epoch = {"state.safetensors"};
const std::set<std::string> files_of_an_epoch = {
    "metrics.csv", "batches.csv", "train.log", "model.safetensors", "best.safetensors", "state.safetensors"};
const std::set<std::string> all_files = {
    "metrics.csv",      "batches.csv",       "train.log",     "per_class.csv",  "model.safetensors",
    "best.safetensors", "state.safetensors", "curves.png",    "comparison.png", "misclassified.png",
    "predictions.png",  "augmented.png",     "confusion.png", "per_class.png"};

/// The lines of batches.csv below its header.
std::vector<std::string> batch_rows(const std::filesystem::path& directory) {
  std::istringstream csv(text_of(directory / "batches.csv"));
  std::string line;
  std::getline(csv, line);
  std::vector<std::string> rows;
  while (std::getline(csv, line)) rows.push_back(line);
  return rows;
}

nn::Sequential load(const Recipe& recipe, const std::filesystem::path& path) {
  nn::Sequential network = recipe.network();
  network.load_state_dict(kg::load_checkpoint(path).tensors);
  return network;
}

TEST_CASE("training s7_final learns", "[trainer]") {
  const TemporaryDirectory out;
  const TrainResult result = train_quietly(small_s7(), small_dataset(), {.epochs = 6, .out = out.path()});
  REQUIRE(result.epochs.size() == 6);
  CHECK_FALSE(result.interrupted);
  CHECK(result.epochs.back().train_loss < 0.6 * result.epochs.front().train_loss);
  CHECK(result.epochs.back().test_loss < 0.6 * result.epochs.front().test_loss);
  CHECK(result.epochs.back().test_accuracy >= 60);
  CHECK(contains(result.last_line, "Goal not judged: it is one for the test images of MNIST"));
}

/// With the fewest digits that read back as the same.
std::string text_of_number(double number) {
  std::array<char, 32> text;
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), number).ptr};
}

TEST_CASE("training leaves whole results", "[trainer]") {
  const TemporaryDirectory directory;
  const auto out = directory / "made" / "on the way";
  const Recipe recipe = small_s7();
  const Dataset data = small_dataset();
  const TrainResult result = train_quietly(recipe, data, {.epochs = 2, .seed = 3, .out = out});

  CHECK(files_in(out) == all_files);
  CHECK(text_of(out / "metrics.csv") == metrics_csv(result.epochs));

  const kg::Checkpoint checkpoint = kg::load_checkpoint(out / "model.safetensors");
  CHECK(checkpoint.metadata ==
        std::map<std::string, std::string>{{"format", "pt"},
                                           {"kernelgrad", std::string(kg::version())},
                                           {"model", "s7_final"},
                                           {"dataset", "mnist"},
                                           {"class_names", "0,1,2,3,4,5,6,7,8,9"},
                                           {"pixel_mean", "0.1307"},
                                           {"pixel_std", "0.3081"},
                                           {"image_size", "1x28x28"},
                                           {"tested_on", identity_of(data.test)},
                                           {"accuracy", text_of_number(result.epochs[1].test_accuracy)},
                                           {"epoch", "2"},
                                           {"seed", "3"}});
  nn::Sequential network = load(recipe, out / "model.safetensors");
  const Evaluation evaluation = evaluate(network, data.test, kg::Device::cpu());
  CHECK(evaluation.loss == result.epochs.back().test_loss);
  CHECK(percent(evaluation.correct, data.test.count) == result.epochs.back().test_accuracy);
}

TEST_CASE("a second run in the same folder replaces the first's results", "[trainer]") {
  const TemporaryDirectory out, fresh;
  const Dataset data = small_dataset();
  train_quietly(small_s7(), data, {.epochs = 3, .seed = 1, .out = out.path()});
  train_quietly(small_s7(), data, {.epochs = 1, .seed = 2, .out = out.path()});
  train_quietly(small_s7(), data, {.epochs = 1, .seed = 2, .out = fresh.path()});
  CHECK(files_in(out.path()) == all_files);
  for (const char* name :
       {"batches.csv", "model.safetensors", "per_class.csv", "per_class.png", "curves.png", "comparison.png",
        "misclassified.png", "predictions.png", "augmented.png", "confusion.png"}) {
    INFO(name);
    CHECK(read_plain(out / name) == read_plain(fresh / name));
  }
  const std::string csv = text_of(out / "metrics.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 2);
}

TEST_CASE("the metrics are means per image of what the epoch trained with", "[trainer]") {
  const TemporaryDirectory out;
  // Nothing changes without a learning rate: training measures what an evaluation does.
  Recipe recipe = linear_recipe();
  recipe.sgd.learning_rate = 0;
  const Dataset data = small_dataset(205);
  for (const kg::Device device : devices()) {
    INFO(device.name());
    const TrainResult result =
        train_quietly(recipe, data, {.epochs = 2, .device = device, .out = out.path()});
    nn::Sequential network = load(recipe, out / "model.safetensors");
    const Evaluation trained = evaluate(network, data.train, kg::Device::cpu());
    REQUIRE(result.epochs.size() == 2);
    for (const EpochMetrics& epoch : result.epochs) {
      CHECK(std::abs(epoch.train_loss - trained.loss) <= 1e-6 * trained.loss);
      CHECK(epoch.train_accuracy == percent(trained.correct, 205));
      CHECK(epoch.test_loss == result.epochs[0].test_loss);
      CHECK(epoch.test_accuracy == result.epochs[0].test_accuracy);
      CHECK(epoch.seconds > 0);
    }
    CHECK(result.epochs[0].epoch == 1);
    CHECK(result.epochs[1].epoch == 2);
  }
}

TEST_CASE("batches.csv sums up to metrics.csv on every device", "[trainer]") {
  const Dataset data = small_dataset(205);
  for (const kg::Device device : devices()) {
    INFO(device.name());
    const TemporaryDirectory out;
    const TrainResult result =
        train_quietly(linear_recipe(), data, {.epochs = 2, .device = device, .out = out.path()});
    const std::vector<std::string> rows = batch_rows(out.path());
    // 205 images: 8 batches of 24 and one of 13.
    REQUIRE(rows.size() == 2 * 9);
    for (int epoch = 1; epoch <= 2; ++epoch) {
      double loss = 0, accuracy = 0;
      for (int batch = 0; batch < 9; ++batch) {
        std::istringstream row(rows[static_cast<std::size_t>(9 * (epoch - 1) + batch)]);
        char comma;
        int epoch_there = 0, batch_there = 0;
        double batch_loss = 0;
        row >> epoch_there >> comma >> batch_there >> comma >> batch_loss >> comma >> accuracy;
        CHECK(epoch_there == epoch);
        CHECK(batch_there == batch);
        loss += batch_loss * (batch < 8 ? 24 : 13) / 205;
      }
      const EpochMetrics& metrics = result.epochs[static_cast<std::size_t>(epoch - 1)];
      CHECK(std::abs(loss - metrics.train_loss) <= 1e-12);
      CHECK(accuracy == metrics.train_accuracy);
    }
  }
}

TEST_CASE("the log has the heading, each epoch, a changed learning rate and the results", "[trainer]") {
  const TemporaryDirectory out;
  Recipe recipe = linear_recipe();
  recipe.schedule = StepLrOptions{.step_size = 2, .gamma = 0.5};
  const TrainResult result =
      train_quietly(recipe, small_dataset(), {.epochs = 3, .out = out.path(), .heading = "a heading\n\n"});
  std::istringstream log(text_of(out / "train.log"));
  std::vector<std::string> starts;
  for (std::string line; std::getline(log, line);) starts.push_back(line.substr(0, line.find('=')));
  REQUIRE(starts.size() == 2 + 3 * 4 + 1 + 5 + 11 + 1);
  CHECK(starts[0] == "a heading");
  CHECK(starts[2] == "EPOCH: 1");
  CHECK(starts[3] == "Loss");
  CHECK(contains(starts[4], "Test set: Average loss: "));
  CHECK(starts[5].empty());
  CHECK(starts[6] == "EPOCH: 2");
  CHECK(starts[10] == "Adjusting learning rate of group 0 to 5.0000e-03.");
  CHECK(starts[11] == "EPOCH: 3");
  CHECK(starts[15] == "Parameters: 7,850");
  CHECK(contains(starts[16], "Best Train Accuracy: "));
  CHECK(contains(starts[17], "Best Test Accuracy: "));
  CHECK(contains(starts[18], "best.safetensors: epoch "));
  CHECK(contains(starts[20], "Accuracy of 0 - zero : "));
  CHECK(contains(starts[29], "Accuracy of 9 - nine : "));
  CHECK(starts.back() == result.last_line);
}

TEST_CASE("the schedule steps once per epoch and is what training uses", "[trainer]") {
  const TemporaryDirectory out;
  Recipe recipe = linear_recipe();
  recipe.schedule = StepLrOptions{.step_size = 2, .gamma = 0};
  for (const kg::Device device : devices()) {
    INFO(device.name());
    const TrainResult result =
        train_quietly(recipe, small_dataset(), {.epochs = 5, .device = device, .out = out.path()});
    REQUIRE(result.epochs.size() == 5);
    std::vector<double> rates, losses;
    for (const EpochMetrics& epoch : result.epochs) {
      rates.push_back(epoch.lr);
      losses.push_back(epoch.test_loss);
    }
    CHECK(rates == std::vector<double>{0.01, 0.01, 0, 0, 0});
    CHECK(losses[1] != losses[0]);
    CHECK(losses[2] == losses[1]);
    CHECK(losses[4] == losses[1]);
  }
}

TEST_CASE("ReduceLrOnPlateau is told the test loss of every epoch", "[trainer]") {
  const TemporaryDirectory out;
  Recipe recipe = linear_recipe();
  // Training that changes nothing never gets better.
  recipe.sgd.learning_rate = 1e-30;
  recipe.schedule = ReduceLrOnPlateauOptions{.factor = 0.5, .patience = 1, .epsilon = 0};
  const auto rates = [&](int epochs, kg::Device device) {
    std::vector<double> found;
    const TrainOptions options{.epochs = epochs, .device = device, .out = out.path()};
    for (const EpochMetrics& epoch : train_quietly(recipe, small_dataset(), options).epochs)
      found.push_back(epoch.lr);
    return found;
  };
  for (const kg::Device device : devices()) {
    INFO(device.name());
    CHECK(rates(6, device) == std::vector<double>{1e-30, 1e-30, 1e-30, 0.5e-30, 0.5e-30, 0.25e-30});
  }
  // Training that goes well does.
  recipe.sgd.learning_rate = 0.01;
  CHECK(rates(6, kg::Device::cpu()) == std::vector<double>(6, 0.01));
}

TEST_CASE("OneCycleLr moves after every batch, or after every epoch, of the whole training", "[trainer]") {
  const TemporaryDirectory out;
  const Dataset data = small_dataset(200, 50);
  Recipe recipe = linear_recipe();  // 9 batches an epoch
  for (const StepEvery step : {StepEvery::batch, StepEvery::epoch}) {
    recipe.sgd.momentum = 0.9;
    recipe.schedule = OneCycleLrOptions{.step = step};
    Sgd sgd({}, recipe.sgd);
    const auto scheduler = make_scheduler(recipe.schedule, sgd, 4 * 9);
    std::vector<double> expected;
    for (int epoch = 0; epoch < 4; ++epoch) {
      expected.push_back(sgd.learning_rate());
      for (int batch = 0; batch < 9; ++batch) scheduler->after_batch();
      scheduler->after_epoch(1);
    }
    for (const kg::Device device : devices()) {
      INFO(device.name());
      const TrainResult result =
          train_quietly(recipe, data, {.epochs = 4, .device = device, .out = out.path()});
      REQUIRE(result.epochs.size() == 4);
      for (std::size_t epoch = 0; epoch < 4; ++epoch) CHECK(result.epochs[epoch].lr == expected[epoch]);
    }
  }
}

using Weights = std::vector<kg::Tensor>;

/// Makes float64 of tensors, all of them jittered() where `jitter` is not 0.
class Mover {
 public:
  explicit Mover(std::uint32_t jitter) : seed_(1000 * jitter) {}
  kg::Tensor operator()(const kg::Tensor& values) {
    return kg::testing::jittered(values.to(kg::DType::float64), seed_ == 0 ? 0 : ++seed_);
  }
  void move(nn::Sequential& network) {
    network.to(kg::DType::float64);
    for (kg::Tensor& parameter : network.parameters()) parameter.copy_from((*this)(parameter.detach()));
  }

 private:
  std::uint32_t seed_;
};

/// The parameters after each step of a training that is written down from the formulas, in float64.
std::vector<Weights> steps_by_hand(const Recipe& recipe, const Dataset& data, int epochs,
                                   std::uint32_t jitter) {
  Mover moved(jitter);
  nn::Sequential network = recipe.network();
  moved.move(network);
  const Weights parameters = network.parameters();
  Sgd sgd(parameters, recipe.sgd);
  ImageLoader loader(data.train, {.batch_size = recipe.batch_size, .seed = 1, .shuffle = true});
  const auto scheduler = make_scheduler(recipe.schedule, sgd, std::int64_t{epochs} * loader.batches());
  std::vector<Weights> steps;
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    loader.start_epoch(epoch);
    for (int index = 0; index < loader.batches(); ++index) {
      const Batch batch = loader.batch(index);
      sgd.zero_grad();
      kg::nll_loss(network(moved(batch.inputs)), batch.labels).backward();
      sgd.step();
      scheduler->after_batch();
      steps.emplace_back();
      for (const kg::Tensor& parameter : parameters) steps.back().push_back(parameter.detach().clone());
    }
    scheduler->after_epoch(1);
  }
  return steps;
}

/// What `make(jitter)` gives without jitter, with the terms of every element.
template <class Make>
std::vector<kg::reference::Values> with_terms(const Make& make) {
  const Weights exact = make(0), first = make(1), second = make(2), third = make(3);
  std::vector<kg::reference::Values> result;
  for (std::size_t i = 0; i < exact.size(); ++i)
    result.push_back(kg::testing::with_terms(exact[i], {first[i], second[i], third[i]}));
  return result;
}

void check_weights(const Weights& actual, const std::vector<kg::reference::Values>& expected) {
  REQUIRE(actual.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(kg::testing::difference(actual[i], expected[i], 4e-6) == "");
}

TEST_CASE("with one-cycle, replaying a recorded step is running it, and what the CPU does", "[trainer]") {
  if (!kg::cuda_is_available()) return;
  const Dataset data = small_dataset(100, 20);
  Recipe recipe = linear_recipe();
  recipe.network = fixed_network;
  recipe.sgd.momentum = 0.9;
  recipe.schedule = OneCycleLrOptions{.max_momentum = 0.99};
  const auto weights = [&](kg::Device device, bool graph) {
    const TemporaryDirectory out;
    train_quietly(recipe, data, {.epochs = 2, .device = device, .out = out.path(), .graph = graph});
    return load(recipe, out / "model.safetensors").parameters();
  };
  const Weights replayed = weights(kg::Device::cuda(), true);
  const Weights launched = weights(kg::Device::cuda(), false);
  for (std::size_t i = 0; i < replayed.size(); ++i) CHECK(kg::testing::same_bits(replayed[i], launched[i]));
  const auto expected =
      with_terms([&](std::uint32_t jitter) { return steps_by_hand(recipe, data, 2, jitter).back(); });
  check_weights(replayed, expected);
  check_weights(weights(kg::Device::cpu(), false), expected);
  // The momentum matters: another one makes another network.
  recipe.schedule = OneCycleLrOptions{.max_momentum = 0.9};
  CHECK(!kg::testing::same_bits(replayed[0], weights(kg::Device::cuda(), true)[0]));
}

TEST_CASE("a step of training is a step of gradient descent on the batch's mean loss", "[trainer]") {
  const double smoothing = GENERATE(0.0, 0.1);
  INFO("label smoothing " << smoothing);
  const TemporaryDirectory out;
  const Dataset data = small_dataset(30);
  Recipe recipe = linear_recipe();
  recipe.label_smoothing = smoothing;
  train_quietly(recipe, data, {.epochs = 1, .batch_size = 30, .seed = 5, .out = out.path()});

  const Batch batch = ImageLoader(data.train, {.batch_size = 30}).batch(0);
  // What each class should be predicted with, and the cross entropy with that.
  std::vector<double> wanted(30 * 10, smoothing / 10);
  for (std::size_t i = 0; i < 30; ++i) wanted[10 * i + data.train.labels[i]] += 1 - smoothing;
  const auto step = [&](std::uint32_t jitter) {
    Mover moved(jitter);
    kg::manual_seed(5);
    nn::Sequential network = recipe.network();
    moved.move(network);
    const kg::Tensor targets = moved(kg::Tensor::from(wanted, {30, 10}));
    (kg::sum(network(moved(batch.inputs)) * targets) * (-1. / 30)).backward();
    Weights after;
    for (const kg::Tensor& before : network.parameters())
      after.push_back(before.detach() + before.grad() * -0.01);
    return after;
  };
  check_weights(load(recipe, out / "model.safetensors").parameters(), with_terms(step));
}

TEST_CASE("with a weight average, that is what is tested and saved", "[trainer]") {
  for (const kg::Device device : devices()) {
    INFO(device.name());
    const TemporaryDirectory out;
    const Dataset data = small_dataset(50);
    Recipe recipe = linear_recipe();
    recipe.weight_average = 0.75;
    recipe.network = fixed_network;
    recipe.batch_size = 25;
    const TrainResult result =
        train_quietly(recipe, data, {.epochs = 1, .device = device, .out = out.path()});

    // The weights after the first step, then an eleventh of them and ten of those after the second.
    const auto expected = with_terms([&](std::uint32_t jitter) {
      const std::vector<Weights> steps = steps_by_hand(recipe, data, 1, jitter);
      Weights average;
      for (std::size_t i = 0; i < steps.at(1).size(); ++i)
        average.push_back(steps[0][i] * (1.0 / 11) + steps[1][i] * (10.0 / 11));
      return average;
    });
    nn::Sequential saved = load(recipe, out / "model.safetensors");
    check_weights(saved.parameters(), expected);
    CHECK(std::abs(result.epochs.at(0).test_loss - evaluate(saved, data.test, {}).loss) < 1e-6);
  }
}

TEST_CASE("a weight average keeps up with a short run", "[trainer]") {
  const TemporaryDirectory plain, averaged;
  Recipe recipe = small_s7();
  const Dataset data = small_dataset();
  const auto accuracy = [&](double decay, const std::filesystem::path& out) {
    recipe.weight_average = decay;
    return train_quietly(recipe, data, {.epochs = 6, .out = out}).epochs.back().test_accuracy;
  };
  const double without = accuracy(0, plain.path());
  CHECK(without >= 60);
  CHECK(accuracy(0.995, averaged.path()) >= without - 10);
}

TEST_CASE("evaluate tests every image by itself", "[trainer]") {
  constexpr int count = 253;  // one batch and a bit
  const Split split = digits(count, 3);
  kg::manual_seed(1);
  nn::Sequential network = find_recipe("s7_final").network();
  const Evaluation evaluation = evaluate(network, split, kg::Device::cpu());
  CHECK(network.is_training());
  CHECK_FALSE(network.parameters()[0].grad().defined());

  network.eval();
  double loss = 0;
  std::int64_t correct = 0;
  std::vector<int> predictions;
  for (int i = 0; i < count; ++i) {
    std::vector<float> pixels(28 * 28);
    Normalize(pixel_mean, pixel_std)(split.image(i), pixels.data());
    const std::vector<float> output = network(kg::Tensor::from(pixels, {1, 1, 28, 28})).to_vector<float>();
    const int label = split.labels[static_cast<std::size_t>(i)];
    loss -= output[static_cast<std::size_t>(label)] / double{count};
    predictions.push_back(static_cast<int>(std::max_element(output.begin(), output.end()) - output.begin()));
    correct += predictions.back() == label;
  }
  CHECK(evaluation.predictions == predictions);
  CHECK(evaluation.correct == correct);
  CHECK(std::abs(evaluation.loss - loss) <= 1e-6 * loss);

  CHECK(evaluate(network, split, kg::Device::cpu()).predictions == predictions);
  CHECK_FALSE(network.is_training());
}

Bytes checkpoint_of(const Dataset& data, std::uint64_t seed, int threads) {
  const kg::testing::ThreadCount scope(threads);
  const TemporaryDirectory out;
  train_quietly(small_s7(), data, {.epochs = 2, .seed = seed, .out = out.path()});
  return read_plain(out / "model.safetensors");
}

TEST_CASE("a seed gives one checkpoint, whatever the number of threads", "[trainer]") {
  const Dataset data = small_dataset();
  const Bytes checkpoint = checkpoint_of(data, 1, 1);
  CHECK(checkpoint.size() > 7676 * 4);
  for (const int threads : {1, 2, 3}) {
    INFO(threads << " threads");
    CHECK((checkpoint_of(data, 1, threads) == checkpoint));
  }
}

/// The values alone: the metadata name the seed.
std::vector<float> weights_of(const Dataset& data, std::uint64_t seed) {
  const TemporaryDirectory out;
  train_quietly(small_s7(), data, {.epochs = 1, .seed = seed, .out = out.path()});
  for (const nn::NamedTensor& entry : kg::load_checkpoint(out / "model.safetensors").tensors)
    if (entry.name == "7.weight") return entry.tensor.to_vector<float>();
  return {};
}

TEST_CASE("another seed gives another checkpoint", "[trainer]") {
  const Dataset data = small_dataset();
  const std::vector<float> one = weights_of(data, 1), two = weights_of(data, 2),
                           beyond_32_bits = weights_of(data, (std::uint64_t{1} << 32) + 1);
  REQUIRE(one.size() == 160);
  CHECK(one != two);
  CHECK(one != beyond_32_bits);
  CHECK(two != beyond_32_bits);
}

/// Largest difference between what training with two seeds makes of one and the same network.
float difference_between_seeds(const Recipe& recipe, const Dataset& data) {
  const TemporaryDirectory out;
  std::vector<std::vector<float>> weights;
  for (const std::uint64_t seed : {1, 2}) {
    train_quietly(recipe, data, {.epochs = 1, .seed = seed, .out = out.path()});
    weights.push_back(load(recipe, out / "model.safetensors").parameters()[0].to_vector<float>());
  }
  float largest = 0;
  for (std::size_t i = 0; i < weights[0].size(); ++i)
    largest = std::max(largest, std::abs(weights[0][i] - weights[1][i]));
  return largest;
}

TEST_CASE("the seed decides the order and the augmentation too", "[trainer]") {
  const Dataset data = small_dataset();
  Recipe recipe = linear_recipe();
  recipe.network = fixed_network;
  CHECK(difference_between_seeds(recipe, data) > 1e-4);
  // In one batch the order moves nothing but the last bits.
  recipe.batch_size = data.train.count;
  CHECK(difference_between_seeds(recipe, data) < 1e-6);
  recipe.augmentation = find_recipe("s7_final").augmentation;
  CHECK(difference_between_seeds(recipe, data) > 1e-4);
}

TEST_CASE("training takes any batch size", "[trainer]") {
  const Dataset data = small_dataset(25, 7);
  Recipe recipe = small_s7();
  if (GENERATE(false, true)) {
    recipe.label_smoothing = 0.1;
    recipe.weight_average = 0.9;
  }
  for (const int batch_size : {2, 24, 25, 1000}) {
    INFO("batch size " << batch_size << ", average " << recipe.weight_average);
    const TemporaryDirectory out;
    const TrainResult result =
        train_quietly(recipe, data, {.epochs = 1, .batch_size = batch_size, .out = out.path()});
    CHECK(result.epochs.size() == 1);
    CHECK(std::isfinite(result.epochs.back().train_loss));
    CHECK(files_in(out.path()) == all_files);
  }
}

TEST_CASE("training refuses a smoothing and an average that mean nothing", "[trainer]") {
  const auto message_with = [](double smoothing, double average) {
    const TemporaryDirectory out;
    Recipe recipe = small_s7();
    recipe.label_smoothing = smoothing;
    recipe.weight_average = average;
    return error_of([&] { train_quietly(recipe, small_dataset(), {.epochs = 1, .out = out.path()}); });
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {-0.1, 1.1, nan}) CHECK(contains(message_with(bad, 0), "label_smoothing is "));
  for (const double bad : {-0.1, 1.0, nan}) CHECK(contains(message_with(0, bad), "decay is "));
}

/// The message of training that diverges with the recipe.
std::string divergence(const Recipe& recipe, const TrainOptions& options) {
  return error_of([&] { train_quietly(recipe, small_dataset(), options); });
}

TEST_CASE("a diverging loss is reported alike on every device, however late it is found", "[trainer]") {
  if (!kg::cuda_is_available()) return;
  const TemporaryDirectory out;
  Recipe recipe = linear_recipe();
  recipe.schedule = StepLrOptions{.step_size = 1, .gamma = 1e40};
  // 67 batches an epoch: on CUDA the totals are looked at in between.
  const auto report = [&](kg::Device device) {
    return divergence(recipe, {.epochs = 3, .batch_size = 3, .device = device, .out = out.path()});
  };
  const std::string on_cpu = report(kg::Device::cpu());
  CHECK(contains(on_cpu, "epoch 2, batch "));
  CHECK(report(kg::Device::cuda()) == on_cpu);
}

TEST_CASE("a diverging loss ends training with the epoch and the batch, and leaves no epoch", "[trainer]") {
  const TemporaryDirectory out;
  Recipe recipe = linear_recipe();
  recipe.sgd.learning_rate = 1e38;
  const std::string message = divergence(recipe, {.epochs = 2, .out = out.path()});
  INFO(message);
  CHECK(contains(message, "epoch 1, batch "));
  CHECK(contains(message, "lower learning rate"));
  CHECK(files_in(out.path()) == files_of_no_epoch);

  Recipe s7 = small_s7();
  s7.sgd.learning_rate = 1e30;
  CHECK(contains(divergence(s7, {.epochs = 1, .out = out.path()}), "epoch 1, batch "));
  CHECK(files_in(out.path()) == files_of_no_epoch);
}

TEST_CASE("a loss that diverges later leaves the whole epochs before", "[trainer]") {
  const TemporaryDirectory out;
  Recipe recipe = linear_recipe();
  recipe.schedule = StepLrOptions{.step_size = 1, .gamma = 1e40};
  // What an earlier run drew at its end is not this one's.
  train_quietly(linear_recipe(), small_dataset(), {.epochs = 1, .out = out.path()});
  REQUIRE(files_in(out.path()) == all_files);
  const std::string message = divergence(recipe, {.epochs = 3, .out = out.path()});
  INFO(message);
  CHECK(contains(message, "epoch 2, batch "));
  CHECK(files_in(out.path()) == files_of_an_epoch);
  const std::string csv = text_of(out / "metrics.csv");
  CHECK(std::count(csv.begin(), csv.end(), '\n') == 2);
  CHECK(kg::load_checkpoint(out / "model.safetensors").metadata.at("epoch") == "1");
}

TEST_CASE("divergence in an epoch's last step is found before anything is written", "[trainer]") {
  const TemporaryDirectory out;
  Recipe recipe = linear_recipe();
  recipe.sgd.learning_rate = std::numeric_limits<float>::max();
  // One batch: its loss is fine, the weights after it are not.
  const std::string message = divergence(recipe, {.epochs = 1, .batch_size = 200, .out = out.path()});
  INFO(message);
  CHECK(contains(message, "epoch 1"));
  CHECK(files_in(out.path()) == files_of_no_epoch);
}

std::atomic<bool> stop_now = false;
int steps = 0, stop_at = 0;

/// Sets stop_now in the forward pass of the stop_at'th training batch.
nn::Sequential stopping_network() {
  return {nn::Functional([](const kg::Tensor& x) {
            if (kg::grad_is_enabled() && ++steps == stop_at) stop_now = true;
            return x;
          }),
          nn::Flatten(), nn::Linear(28 * 28, 10), nn::LogSoftmax()};
}

TrainResult train_until(int batch, const std::filesystem::path& out, TrainOptions options = {}) {
  Recipe recipe = linear_recipe();
  recipe.network = stopping_network;
  stop_now = false;
  steps = 0;
  stop_at = batch;
  options.epochs = 4;
  options.batch_size = 50;
  options.out = out;
  options.quiet = true;
  return train(recipe, small_dataset(), options, stop_now);
}

TEST_CASE("training stops after the batch in progress and keeps the whole epochs", "[trainer]") {
  const TemporaryDirectory out;
  SECTION("in the second epoch") {
    const TrainResult result = train_until(6, out.path());
    CHECK(result.interrupted);
    CHECK(steps == 6);
    REQUIRE(result.epochs.size() == 1);
    CHECK(text_of(out / "metrics.csv") == metrics_csv(result.epochs));
    CHECK(kg::load_checkpoint(out / "model.safetensors").metadata.at("epoch") == "1");
    CHECK(files_in(out.path()) == all_files);
    // The epoch that was cut short is in no table, and in the log as far as it got.
    CHECK(batch_rows(out.path()).size() == 4);
    const std::string log = text_of(out / "train.log");
    CHECK(contains(log, "Batch_id=3 Accuracy="));
    CHECK(contains(log, "EPOCH: 2\nLoss="));
    CHECK(contains(log, "Batch_id=1 Accuracy="));
    CHECK(contains(log, ":  50%|"));
    CHECK(log.ends_with("interrupted after 1 whole epoch\n"));
  }
  SECTION("in the first epoch") {
    const TrainResult result = train_until(2, out.path());
    CHECK(result.interrupted);
    CHECK(steps == 2);
    CHECK(result.epochs.empty());
    CHECK(files_in(out.path()) == files_of_no_epoch);
  }
}

TEST_CASE("training on cuda stops as on the CPU", "[trainer]") {
  if (!kg::cuda_is_available()) return;
  const TemporaryDirectory out;
  SECTION("kernel by kernel") {
    const TrainResult result = train_until(6, out.path(), {.device = kg::Device::cuda(), .graph = false});
    CHECK(result.interrupted);
    CHECK(steps == 6);
    REQUIRE(result.epochs.size() == 1);
    CHECK(text_of(out / "metrics.csv") == metrics_csv(result.epochs));
  }
  SECTION("with the step that is recorded") {
    const TrainResult result = train_until(2, out.path(), {.device = kg::Device::cuda()});
    CHECK(result.interrupted);
    CHECK(steps == 2);
    CHECK(result.epochs.empty());
    CHECK(files_in(out.path()) == files_of_no_epoch);
  }
}

TEST_CASE("training on cuda gives one checkpoint, recorded or kernel by kernel", "[trainer]") {
  if (!kg::cuda_is_available()) return;
  const Dataset data = small_dataset(25, 7);
  Recipe recipe = linear_recipe();
  if (GENERATE(false, true)) {
    recipe.label_smoothing = 0.1;
    recipe.weight_average = 0.9;
  }
  for (const int batch_size : {2, 24, 25, 1000}) {
    INFO("batch size " << batch_size << ", average " << recipe.weight_average);
    std::vector<Bytes> checkpoints;
    for (const bool graph : {true, false, true}) {
      const TemporaryDirectory out;
      train_quietly(recipe, data,
                    {.epochs = 2,
                     .batch_size = batch_size,
                     .device = kg::Device::cuda(),
                     .out = out.path(),
                     .graph = graph});
      CHECK(files_in(out.path()) == all_files);
      checkpoints.push_back(read_plain(out / "model.safetensors"));
    }
    CHECK((checkpoints[0] == checkpoints[1]));
    CHECK((checkpoints[0] == checkpoints[2]));
  }
}

/// Nobody's rights instead of root's, who may write everywhere.
class WithoutPrivileges {
 public:
  WithoutPrivileges() {
    if (root_) REQUIRE(seteuid(65534) == 0);
  }
  ~WithoutPrivileges() {
    if (root_ && seteuid(0) != 0) std::abort();
  }
  WithoutPrivileges(const WithoutPrivileges&) = delete;
  WithoutPrivileges& operator=(const WithoutPrivileges&) = delete;

 private:
  bool root_ = geteuid() == 0;
};

TEST_CASE("training names a folder that is there and cannot be written into", "[trainer]") {
  const TemporaryDirectory directory;
  const auto out = directory / "read-only";
  std::filesystem::create_directory(out);
  std::filesystem::permissions(out, std::filesystem::perms{0555});
  std::filesystem::permissions(directory.path(), std::filesystem::perms{0755});
  std::string message;
  {
    const WithoutPrivileges as_nobody;
    message = error_of([&] { train_until(2, out); });
  }
  CHECK(message == out.string() + ": cannot write into the folder: Permission denied");
  CHECK(steps == 0);
}

TEST_CASE("training on validation images says so, and judges no goal by them", "[trainer]") {
  const TemporaryDirectory out;
  const Dataset data = with_validation(small_dataset(25, 7), 5);
  const TrainResult result = train_quietly(linear_recipe(), data, {.epochs = 1, .out = out.path()});
  CHECK(result.last_line == "Goal not judged: it is one for the test images, not for validation images.");
  const std::string log = text_of(out / "train.log");
  CHECK(contains(log, "\nValidation set: Average loss: "));
  CHECK(contains(log, "\nBest Validation Accuracy: "));
  CHECK(!contains(log, "est set"));
  CHECK(!contains(log, "Test"));
}

TEST_CASE("training names the folder or file that it cannot write", "[trainer]") {
  const TemporaryDirectory directory;
  const Dataset data = small_dataset(25, 7);
  write_plain(directory / "file", {1});
  for (const auto& out : {directory / "file", directory / "file" / "below"}) {
    const std::string message = error_of([&] { train_until(2, out); });
    INFO(message);
    CHECK(contains(message, out.string()));
    CHECK(steps == 0);  // not after an epoch in vain
  }
  CHECK(read_plain(directory / "file") == Bytes{1});

  for (const std::string& name : all_files) {
    const auto out = directory / ("no " + name);
    std::filesystem::create_directories(out / name);
    const std::string message =
        error_of([&] { train_quietly(linear_recipe(), data, {.epochs = 1, .out = out}); });
    INFO(message);
    CHECK(contains(message, (out / name).string()));
    for (const std::string& file : files_in(out)) CHECK(all_files.count(file) == 1);
  }
}

}  // namespace
}  // namespace mnist
