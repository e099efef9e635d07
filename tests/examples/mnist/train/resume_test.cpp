// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "catch.h"
#include "digits.h"
#include "idx_fixture.h"
#include "kernelgrad/kernelgrad.h"
#include "support.h"
#include "support/files.h"
#include "train/run_state.h"
#include "train/trainer.h"

namespace mnist {
namespace {

namespace nn = kg::nn;
namespace fs = std::filesystem;

using kg::testing::devices;

const std::atomic<bool> never = false;

/// Told of every forward pass of a counting network, with its number in training or in a test, from 1.
std::function<void(bool training, int pass)> watch;
int passes[2];

nn::Functional counting() {
  return nn::Functional([](const kg::Tensor& x) {
    const bool training = kg::grad_is_enabled();
    if (watch) watch(training, ++passes[training]);
    return x;
  });
}

nn::Sequential small_network() {
  return {counting(),          nn::Conv2d(1, 2, 5, {.stride = 3}),
          nn::ReLU(),          nn::BatchNorm2d(2),
          nn::Dropout(0.1),    nn::Flatten(),
          nn::Linear(128, 10), nn::LogSoftmax()};
}

Recipe small_recipe() {
  return {.id = "small",
          .description = "",
          .network = small_network,
          .augmentation = [] { return Augmentation({RandomRotation{.degrees = 7}}); },
          .sgd = {.learning_rate = 0.05, .momentum = 0.9},
          .schedule = {},
          .batch_size = 24,
          .epochs = 4,
          .published = {}};
}

struct Feature {
  const char* name;
  std::function<void(Recipe&)> change;
};

const std::vector<Feature>& features() {
  static const std::vector<Feature> all = {
      {"momentum, dropout, augmentation, shuffling", [](Recipe&) {}},
      {"no momentum", [](Recipe& recipe) { recipe.sgd.momentum = 0; }},
      {"nesterov, weight decay, label smoothing",
       [](Recipe& recipe) {
         recipe.sgd.nesterov = true;
         recipe.sgd.weight_decay = 1e-3;
         recipe.label_smoothing = 0.1;
       }},
      {"dampening", [](Recipe& recipe) { recipe.sgd.dampening = 0.5; }},
      {"StepLr",
       [](Recipe& recipe) { recipe.schedule = kg::training::StepLrOptions{.step_size = 3, .gamma = 0.3}; }},
      {"ReduceLrOnPlateau",
       [](Recipe& recipe) {
         // Nothing is better by the half: every second epoch after the first is one too many.
         recipe.schedule =
             kg::training::ReduceLrOnPlateauOptions{.factor = 0.5, .patience = 1, .threshold = 0.9};
       }},
      {"OneCycleLr", [](Recipe& recipe) { recipe.schedule = kg::training::OneCycleLrOptions{}; }},
      {"OneCycleLr by epochs",
       [](Recipe& recipe) {
         recipe.schedule = kg::training::OneCycleLrOptions{.step = kg::training::StepEvery::epoch};
       }},
      {"weight average", [](Recipe& recipe) { recipe.weight_average = 0.9; }},
      {"weight average, one-cycle",
       [](Recipe& recipe) {
         recipe.weight_average = 0.995;
         recipe.schedule = kg::training::OneCycleLrOptions{};
       }},
  };
  return all;
}

Dataset small_data() { return {.train = digits(100, 1), .test = digits(30, 2)}; }

std::set<std::string> files_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

/// What is in a run's folder, times taken out: seconds in metrics.csv and in the state, what a line of
/// progress has in brackets.
std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const std::string& name : files_in(folder)) files[name] = text_of(folder / name);
  if (files.contains("metrics.csv"))
    files["metrics.csv"] = std::regex_replace(files["metrics.csv"], std::regex(",[^,\n]*\n"), "\n");
  if (files.contains("train.log"))
    files["train.log"] = std::regex_replace(files["train.log"], std::regex("\\[[^\\]\n]*\\]"), "[]");
  if (files.contains(state_file)) {
    RunState state = load_state(folder);
    for (TrainedEpoch& epoch : state.epochs) epoch.metrics.seconds = 0;
    const TemporaryDirectory copy;
    save_state(copy.path(), state);
    files[state_file] = text_of(copy / state_file);
  }
  return files;
}

std::string difference(const fs::path& one, const fs::path& two) {
  const auto a = contents(one), b = contents(two);
  std::string different;
  for (const auto& [name, content] : a)
    if (!b.contains(name) || b.at(name) != content) different += name + " ";
  for (const auto& [name, content] : b)
    if (!a.contains(name)) different += name + " ";
  return different;
}

struct Call {
  Recipe recipe;
  const Dataset& data;
  TrainOptions options;
};

/// Trains until the stop flag is set, which `when` says for every forward pass.
TrainResult train_until(Call call, const std::function<bool(bool training, int pass)>& when) {
  static std::atomic<bool> stop;
  stop = false;
  std::ranges::fill(passes, 0);
  watch = [&](bool training, int pass) {
    // What passes before the first batch shows the layers.
    if ((training || passes[true] > 0) && when(training, pass)) stop = true;
  };
  call.options.quiet = true;
  const TrainResult result = train(call.recipe, call.data, call.options, stop);
  watch = {};
  return result;
}

TrainResult train_to_the_end(const Call& call) {
  return train_until(call, [](bool, int) { return false; });
}

Call resuming(Call call) {
  call.options.existing = Existing::resume;
  return call;
}

TEST_CASE("a run that is stopped after every epoch and resumed leaves the bytes of one that is not",
          "[resume]") {
  const Dataset data = small_data();
  for (const kg::Device device : devices())
    for (const Feature& feature : features()) {
      INFO(device.name() << ": " << feature.name);
      const TemporaryDirectory undisturbed, stopped;
      Recipe recipe = small_recipe();
      feature.change(recipe);
      Call call{recipe, data, {.seed = 7, .device = device, .out = undisturbed.path(), .heading = ""}};
      const TrainResult whole = train_to_the_end(call);
      REQUIRE(whole.epochs.size() == 4);

      call.options.out = stopped.path();
      // Its first test is the end of the first epoch; the second epoch has no batch.
      const auto in_first_test = [](bool training, int) { return !training; };
      CHECK(train_until(call, in_first_test).epochs.size() == 1);
      CHECK(train_until(resuming(call), in_first_test).epochs.size() == 2);
      CHECK(train_until(resuming(call), in_first_test).epochs.size() == 3);
      const TrainResult resumed = train_to_the_end(resuming(call));
      CHECK_FALSE(resumed.interrupted);
      CHECK(resumed.last_line == whole.last_line);
      CHECK(difference(undisturbed.path(), stopped.path()) == "");
    }
}

TEST_CASE("a run that is stopped in any batch and resumed leaves the bytes of one that is not", "[resume]") {
  const Dataset data = small_data();
  Recipe recipe = small_recipe();
  recipe.weight_average = 0.9;
  recipe.schedule = kg::training::OneCycleLrOptions{};
  const TemporaryDirectory undisturbed;
  Call call{recipe, data, {.epochs = 3, .out = undisturbed.path()}};
  train_to_the_end(call);
  // An epoch has 5 batches.
  for (int batch = 1; batch <= 15; ++batch) {
    INFO("batch " << batch);
    const TemporaryDirectory stopped;
    call.options.out = stopped.path();
    const auto in_batch = [&](bool training, int pass) { return training && pass == batch; };
    const TrainResult first = train_until(call, in_batch);
    CHECK(first.interrupted == (batch < 15));
    CHECK(static_cast<int>(first.epochs.size()) == batch / 5);
    train_to_the_end(resuming(call));
    CHECK(difference(undisturbed.path(), stopped.path()) == "");
  }
}

TEST_CASE("a run goes on from its state alone, whatever else a kill has left", "[resume]") {
  const Dataset data = small_data();
  const TemporaryDirectory undisturbed, killed;
  Call call{small_recipe(), data, {.out = undisturbed.path(), .options_text = "seed=1\n"}};
  train_to_the_end(call);
  call.options.out = killed.path();
  int epochs = 0;
  train_until(call, [&](bool training, int) { return !training && ++epochs == 2; });
  SECTION("nothing") {
    for (const std::string& name : files_in(killed.path()))
      if (name != state_file) fs::remove(killed / name);
  }
  SECTION("half of what it wrote, and what it was to replace") {
    for (const char* name : {"best.safetensors", "metrics.csv", "curves.png"}) fs::remove(killed / name);
    for (const char* name : {"model.safetensors", "batches.csv", "train.log", "options.ini", "per_class.csv"})
      write_text(killed / name, "of an epoch before");
  }
  SECTION("all but the word that it is finished") {
    train_to_the_end(resuming(call));
    RunState state = load_state(killed.path());
    CHECK(state.finished);
    state.finished = false;
    save_state(killed.path(), state);
    fs::remove(killed / "confusion.png");
  }
  // While it trains, what an interrupted run had at its end is not there: another kill would leave it.
  std::int64_t of_the_end = 0;
  train_until(resuming(call), [&](bool training, int) {
    if (training)
      of_the_end += std::ranges::count_if(report_files_of_the_end(),
                                          [&](const char* name) { return fs::exists(killed / name); });
    return false;
  });
  CHECK(of_the_end == 0);
  CHECK(difference(undisturbed.path(), killed.path()) == "");
}

TEST_CASE("a run that is finished is left alone, unless a file is gone", "[resume]") {
  const Dataset data = small_data();
  const TemporaryDirectory out;
  const Call call{small_recipe(), data, {.epochs = 2, .out = out.path()}};
  const TrainResult first = train_to_the_end(call);
  CHECK_FALSE(first.was_finished);
  std::map<std::string, fs::file_time_type> times;
  for (const std::string& name : files_in(out.path())) times[name] = fs::last_write_time(out / name);
  const auto before = contents(out.path());
  const TrainResult second = train_to_the_end(resuming(call));
  CHECK(second.was_finished);
  CHECK(second.last_line == first.last_line);
  CHECK(second.epochs.size() == 2);
  for (const auto& [name, time] : times) CHECK(fs::last_write_time(out / name) == time);
  for (const char* gone : {"best.safetensors", "augmented.png"}) {
    fs::remove(out / gone);
    CHECK_FALSE(train_to_the_end(resuming(call)).was_finished);
    CHECK((contents(out.path()) == before));
  }
}

TEST_CASE("a run is not resumed as another than it is", "[resume]") {
  const Dataset data = small_data(), other_data{.train = digits(100, 3), .test = digits(30, 2)};
  const TemporaryDirectory out;
  const Call call{small_recipe(), data, {.epochs = 2, .seed = 5, .out = out.path()}};
  train_until(call, [](bool training, int) { return !training; });
  const auto before = contents(out.path());
  const auto refusal = [&](const auto& change) {
    Call changed = resuming(call);
    change(changed);
    return error_of([&] { train_to_the_end(changed); });
  };
  const std::string place = out.path().string() + ": cannot be resumed as another run than it is: ";
  CHECK(refusal([](Call& c) { c.options.seed = 6; }) == place + "seed is 5, given 6");
  CHECK(refusal([](Call& c) { c.options.learning_rate = 0.5; }) ==
        place + "learning rate is 0.05, given 0.5");
  CHECK(refusal([](Call& c) { c.options.batch_size = 25; }) == place + "batch size is 24, given 25");
  CHECK(refusal([](Call& c) { c.options.dataset = DatasetName::fashion_mnist; }) ==
        place + "data set is mnist, given fashion-mnist");
  CHECK(contains(refusal([](Call& c) { c.recipe.sgd.weight_decay = 1; }), place + "recipe (checksum) is "));
  CHECK(contains(refusal([](Call& c) { c.recipe.id = "other"; }), "model is small, given other"));
  CHECK(refusal([](Call& c) { c.options.seed = 6, c.options.batch_size = 25; }) ==
        place + "batch size is 24, given 25; seed is 5, given 6");
  CHECK(contains(error_of([&] {
                   train_to_the_end(resuming({call.recipe, other_data, call.options}));
                 }),
                 "; training images is 100 ("));
  const Dataset held_out = with_validation(data, 10);
  CHECK(contains(error_of([&] {
                   train_to_the_end(resuming({call.recipe, held_out, call.options}));
                 }),
                 "test images is 30 ("));
  const RunState state = load_state(out.path());
  RunState of_another_version = state, without_seed = state;
  of_another_version.identity["version"] = "0.0.1";
  save_state(out.path(), of_another_version);
  CHECK(contains(refusal([](Call&) {}), place + "version is 0.0.1, given "));
  without_seed.identity.erase("seed");
  save_state(out.path(), without_seed);
  CHECK(refusal([](Call&) {}) == place + "seed is none, given 5");
  save_state(out.path(), state);
  CHECK((contents(out.path()) == before));
}

TEST_CASE("a run is made longer where its schedule does not depend on that", "[resume]") {
  const Dataset data = small_data();
  Recipe recipe = small_recipe();
  recipe.schedule = kg::training::StepLrOptions{.step_size = 2, .gamma = 0.5};
  const TemporaryDirectory undisturbed, longer;
  Call call{recipe, data, {.epochs = 4, .out = undisturbed.path()}};
  train_to_the_end(call);
  call.options.epochs = 2;
  call.options.out = longer.path();
  train_to_the_end(call);
  call.options.epochs = 4;
  SECTION("at once") { CHECK(train_to_the_end(resuming(call)).epochs.size() == 4); }
  SECTION("interrupted at once, which does not lose how long it is to be") {
    train_until(resuming(call), [](bool training, int) { return training; });
    CHECK(load_state(longer.path()).planned_epochs == 4);
    CHECK(train_to_the_end(resuming(call)).epochs.size() == 4);
  }
  CHECK(difference(undisturbed.path(), longer.path()) == "");

  call.options.epochs = 3;
  CHECK(contains(error_of([&] { train_to_the_end(resuming(call)); }),
                 "it was to have 4 epochs, given 3: it has 4 already"));
}

TEST_CASE("a one-cycle run keeps its length", "[resume]") {
  const Dataset data = small_data();
  Call call{small_recipe(), data, {.epochs = 2}};
  call.recipe.schedule = kg::training::OneCycleLrOptions{};
  const TemporaryDirectory out;
  call.options.out = out.path();
  train_to_the_end(call);
  call.options.epochs = 3;
  CHECK(contains(error_of([&] { train_to_the_end(resuming(call)); }),
                 "it was to have 2 epochs, given 3: its one-cycle schedule is one for the whole run"));
}

TEST_CASE("what is no run is not resumed", "[resume]") {
  const Dataset data = small_data();
  const TemporaryDirectory out;
  const Call call = resuming({small_recipe(), data, {.out = out.path()}});
  CHECK(error_of([&] { train_to_the_end(call); }) ==
        out.path().string() + ": has no state.safetensors, as a training run has that can be resumed");
  CHECK(files_in(out.path()).empty());

  nn::Sequential network = small_network();
  kg::save_checkpoint(out / state_file, {.tensors = network.state_dict(), .metadata = {}});
  CHECK(contains(error_of([&] { train_to_the_end(call); }), "is no state of a training run: "));
  write_text(out / state_file, "text");
  CHECK(contains(error_of([&] { train_to_the_end(call); }), (out / state_file).string()));
}

TEST_CASE("a run is not overwritten in silence", "[resume]") {
  const Dataset data = small_data();
  const TemporaryDirectory out;
  Call call{small_recipe(), data, {.epochs = 2, .out = out.path()}};
  const auto refusal = [&] { return error_of([&] { train_to_the_end(call); }); };
  const std::string place = out.path().string();
  write_text(out / "notes.txt", "somebody's");

  // Without a whole epoch there is nothing to lose.
  train_until(call, [](bool training, int) { return training; });
  CHECK(files_in(out.path()) == std::set<std::string>{"notes.txt", state_file});
  train_until(call, [](bool training, int) { return !training; });
  const auto before = contents(out.path());
  CHECK(refusal() == place + ": has a run with 1 of 2 epochs; `mnist train --resume " + place +
                         "` goes on with it, --overwrite removes it and trains anew, --out DIR or other "
                         "options train elsewhere");
  CHECK((contents(out.path()) == before));
  train_to_the_end(resuming(call));
  CHECK(contains(refusal(), place + ": has a finished run of 2 epochs, "));
  fs::remove(out / state_file);
  CHECK(contains(refusal(), "is there, of a run without state.safetensors; --overwrite "));

  call.options.existing = Existing::overwrite;
  call.options.seed = 9;
  train_to_the_end(call);
  CHECK(text_of(out / "notes.txt") == "somebody's");
  fs::remove(out / "notes.txt");
  const TemporaryDirectory fresh;
  call.options.out = fresh.path();
  train_to_the_end(call);
  CHECK(difference(out.path(), fresh.path()) == "");

  // Of the run before nothing is left beside one that has no epoch yet.
  call.options.out = out.path();
  call.options.learning_rate = 1e38;
  CHECK(contains(refusal(), "diverged"));
  CHECK(files_in(out.path()) == std::set<std::string>{state_file});
}

TEST_CASE("a run that cannot begin leaves the one in its folder alone", "[resume]") {
  const Dataset data = small_data();
  const TemporaryDirectory out;
  Call call{small_recipe(), data, {.epochs = 1, .out = out.path()}};
  train_to_the_end(call);
  const auto before = contents(out.path());
  call.options.existing = Existing::overwrite;
  call.options.batch_size = 0;
  CHECK(contains(error_of([&] { train_to_the_end(call); }), "batch size 0"));
  call.options.batch_size = {};
  call.recipe.weight_average = 2;
  CHECK(contains(error_of([&] { train_to_the_end(call); }), "decay is 2"));
  CHECK((contents(out.path()) == before));
}

TEST_CASE("two processes cannot have one folder", "[resume]") {
  const Dataset data = small_data();
  const TemporaryDirectory out;
  const Call call{small_recipe(), data, {.epochs = 1, .out = out.path()}};
  {
    const FolderLock lock(out.path());
    for (const Existing existing : {Existing::refuse, Existing::overwrite, Existing::resume}) {
      Call other = call;
      other.options.existing = existing;
      CHECK(error_of([&] { train_to_the_end(other); }) ==
            out.path().string() +
                ": another process is at work in this folder; wait for it or give another with --out");
    }
    CHECK(files_in(out.path()).empty());
  }
  CHECK(train_to_the_end(call).epochs.size() == 1);
}

TEST_CASE("best.safetensors has the weights of the first best epoch", "[resume]") {
  const Dataset data = small_data();
  const TemporaryDirectory out;
  Recipe recipe = small_recipe();
  // After a good second epoch it gets worse.
  recipe.sgd = {.learning_rate = 0.05};
  recipe.schedule = kg::training::StepLrOptions{.step_size = 2, .gamma = 60};
  const TrainResult result = train_to_the_end({recipe, data, {.epochs = 4, .out = out.path()}});
  const auto best = std::ranges::max_element(result.epochs, {}, &EpochMetrics::test_accuracy);
  REQUIRE(best->epoch < 4);
  nn::Sequential network = recipe.network();
  const kg::Checkpoint checkpoint = kg::load_checkpoint(out / "best.safetensors");
  network.load_state_dict(checkpoint.tensors);
  CHECK(evaluate(network, data.test, {}).loss == best->test_loss);
  CHECK(checkpoint.metadata.at("epoch") == std::to_string(best->epoch));
}

}  // namespace
}  // namespace mnist
