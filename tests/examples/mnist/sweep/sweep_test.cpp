// SPDX-License-Identifier: MIT
#include "sweep/sweep.h"

#include <chrono>
#include <fstream>
#include <memory>
#include <set>
#include <thread>

#include "catch.h"
#include "digits.h"
#include "idx_fixture.h"
#include "models/blocks.h"

namespace mnist {
namespace {

using Seeds = std::vector<std::uint64_t>;

const std::atomic<bool> never = false;

TEST_CASE("Seeds are a list, a range or both", "[sweep]") {
  CHECK(parse_seeds("7") == Seeds{7});
  CHECK(parse_seeds("3,1,2") == Seeds{3, 1, 2});
  CHECK(parse_seeds("1-3") == Seeds{1, 2, 3});
  CHECK(parse_seeds("0,5-6,2-5,0") == Seeds{0, 5, 6, 2, 3, 4});
  CHECK(parse_seeds("18446744073709551614-18446744073709551615") ==
        Seeds{18446744073709551614u, 18446744073709551615u});
  CHECK(parse_seeds("1-10000").size() == 10000);
}

TEST_CASE("What is no list of seeds is refused", "[sweep]") {
  const std::string text = GENERATE("", ",", "1,", ",1", "1,,2", "-1", "1-", "1-2-3", "one", "1.5", "1 2",
                                    " 1", "18446744073709551616", "0x1");
  CHECK(error_of([&] { parse_seeds(text); }) ==
        "seeds: \"" + text + "\" given, expected whole numbers from 0 as in 1,2,3 or 1-3");
}

TEST_CASE("Ranges of seeds go up and not too far", "[sweep]") {
  CHECK(error_of([] { parse_seeds("1,3-2"); }) ==
        "seeds: \"1,3-2\" given, expected the smaller seed of 3-2 first");
  for (const char* text : {"0-18446744073709551615", "0-10000", "0,1-10000"})
    CHECK(error_of([&] { parse_seeds(text); }) ==
          std::string("seeds: \"") + text + "\" given, expected 10000 seeds at most");
}

TEST_CASE("Times left are rough", "[sweep]") {
  CHECK(rough_time(0.4) == "0 s");
  CHECK(rough_time(59.4) == "59 s");
  CHECK(rough_time(59.9) == "1 min");
  CHECK(rough_time(91) == "2 min");
  CHECK(rough_time(3599) == "1 h 0 min");
  CHECK(rough_time(7800) == "2 h 10 min");
}

TEST_CASE("A fingerprint tells apart what is trained otherwise, and nothing else", "[sweep]") {
  const Dataset data{.train = digits(40, 1), .test = digits(20, 2)};
  const Recipe recipe = find_recipe("s7_final");
  const std::string original = fingerprint(recipe, data, {});
  CHECK(original.size() == 8);

  Recipe same = recipe;
  same.description = "other words";
  same.published = {};
  CHECK(fingerprint(same, data,
                    {.ids = {"x"}, .seeds = {9}, .out = "y", .jobs = 3, .other_arguments = {"z"}}) ==
        original);
  CHECK(fingerprint(recipe, data, {.epochs = recipe.epochs}) == original);

  std::set<std::string> different = {original};
  std::size_t changes = 1;
  const auto changed = [&](const std::string& print) {
    different.insert(print);
    CHECK(different.size() == ++changes);
  };
  changed(fingerprint(recipe, data, {.epochs = 3}));
  changed(fingerprint(recipe, data, {.settings = {"--device", "cuda"}}));
  Dataset other_data = data;
  other_data.test.labels.back() ^= 1;
  changed(fingerprint(recipe, other_data, {}));
  const auto with = [&](auto change) {
    Recipe other = recipe;
    change(other);
    changed(fingerprint(other, data, {}));
  };
  with([](Recipe& other) { other.id = "other"; });
  with([](Recipe& other) { other.batch_size = 24; });
  with([](Recipe& other) { other.sgd.learning_rate *= 2; });
  with([](Recipe& other) { other.sgd.momentum = 0.5; });
  with([](Recipe& other) { other.sgd.dampening = 0.5; });
  with([](Recipe& other) { other.sgd.weight_decay = 0.5; });
  with([](Recipe& other) { other.sgd.nesterov = true; });
  with([](Recipe& other) { other.label_smoothing = 0.1; });
  with([](Recipe& other) { other.weight_average = 0.1; });
  with([](Recipe& other) { other.schedule = kg::training::StepLrOptions{.step_size = 3}; });
  with([](Recipe& other) { other.schedule = kg::training::OneCycleLrOptions{}; });
  with([](Recipe& other) {
    other.schedule = kg::training::OneCycleLrOptions{.step = kg::training::StepEvery::epoch};
  });
  with([](Recipe& other) { other.schedule = kg::training::OneCycleLrOptions{.pct_start = 0.2}; });
  with([](Recipe& other) { other.schedule = kg::training::OneCycleLrOptions{.div_factor = 9}; });
  with([](Recipe& other) { other.schedule = kg::training::OneCycleLrOptions{.final_div_factor = 9}; });
  with([](Recipe& other) { other.schedule = kg::training::OneCycleLrOptions{.base_momentum = 0.8}; });
  with([](Recipe& other) { other.schedule = kg::training::OneCycleLrOptions{.max_momentum = 0.9}; });
  with([](Recipe& other) { other.schedule = kg::training::StepLrOptions{.step_size = 3, .gamma = 0.2}; });
  with([](Recipe& other) { other.schedule = kg::training::ReduceLrOnPlateauOptions{}; });
  with([](Recipe& other) { other.schedule = kg::training::ReduceLrOnPlateauOptions{.factor = 0.2}; });
  with([](Recipe& other) { other.schedule = kg::training::ReduceLrOnPlateauOptions{.patience = 2}; });
  with([](Recipe& other) { other.schedule = kg::training::ReduceLrOnPlateauOptions{.threshold = 0.1}; });
  with([](Recipe& other) { other.schedule = kg::training::ReduceLrOnPlateauOptions{.min_lr = 0.1}; });
  with([](Recipe& other) { other.schedule = kg::training::ReduceLrOnPlateauOptions{.epsilon = 0.1}; });
  with([](Recipe& other) {
    other.augmentation = [] { return Augmentation({RandomRotation{.degrees = 5}}); };
  });
  with([](Recipe& other) {
    other.augmentation = [] { return Augmentation({RandomRotation{.degrees = 9}}); };
  });
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{c3(1, 4, {dropout(0.1)}), gap(26)}; };
  });
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{c3(1, 4, {dropout(0.2)}), gap(26)}; };
  });
  // What a summary does not show.
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{c3(1, 4, {functional_relu, dropout(0.2)}), gap(26)}; };
  });
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{c3(1, 4, {dropout(0.2), functional_relu}), gap(26)}; };
  });
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{c3(1, 4), kg::nn::BatchNorm2d(4)}; };
  });
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{c3(1, 4), kg::nn::BatchNorm2d(4, {.epsilon = 1e-3})}; };
  });
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{c3(1, 4), kg::nn::BatchNorm2d(4, {.momentum = 0.3})}; };
  });
  // On 26x26: to 13x13, all of them.
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{c3(1, 4), kg::nn::MaxPool2d(2)}; };
  });
  with([](Recipe& other) {
    other.network = [] {
      return kg::nn::Sequential{c3(1, 4), kg::nn::MaxPool2d(3, {.stride = 2, .padding = 1})};
    };
  });
  with([](Recipe& other) {
    other.network = [] {
      return kg::nn::Sequential{c3(1, 4), kg::nn::AvgPool2d(3, {.stride = 2, .padding = 1})};
    };
  });
  with([](Recipe& other) {
    other.network = [] {
      return kg::nn::Sequential{
          c3(1, 4), kg::nn::AvgPool2d(3, {.stride = 2, .padding = 1, .count_include_pad = false})};
    };
  });
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{kg::nn::Conv2d(1, 4, 3, {.padding = 1})}; };
  });
  with([](Recipe& other) {
    other.network = [] { return kg::nn::Sequential{kg::nn::Conv2d(1, 4, 3, {.padding = 2, .dilation = 2})}; };
  });
  changed(fingerprint(recipe, data, {.validation = 10}));
}

/// A sweep whose runs are a shell script's: it writes calls.txt and, but for the runs that are to fail, a
/// metrics.csv whose accuracies are the seed.
class FakeSweep {
 public:
  explicit FakeSweep(std::vector<std::string> ids, Seeds seeds) {
    options.ids = std::move(ids);
    options.seeds = std::move(seeds);
    options.out = directory / "sweep";
    options.epochs = 2;
    options.program = directory / "mnist";
    set_script("");
  }

  /// `more` stands before the metrics are written; $model, $seed and $out are what they are called.
  void set_script(const std::string& more) {
    std::ofstream(options.program)
        << "#!/bin/sh\nmodel=$4 seed=$6 out=$8\n"
           "echo \"$@\" >> "
        << (directory / "calls.txt").string() << "\n"
        << more
        << "\n{ echo epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,seconds\n"
           "echo 1,0.1,1,50,1,$seed,3\necho 2,0.1,1,50,1,$seed,5\n} > $out/metrics.csv\n";
    std::filesystem::permissions(options.program, std::filesystem::perms::owner_all);
  }

  SweepResult run(const std::atomic<bool>& stop = never) {
    std::filesystem::remove(directory / "calls.txt");
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
        std::fopen((directory / "printed.txt").c_str(), "w"), std::fclose);
    options.messages = file.get();
    return sweep(data, options, stop);
  }

  std::string calls() const { return text_of(directory / "calls.txt"); }
  std::string printed() const { return text_of(directory / "printed.txt"); }
  std::string results() const { return text_of(options.out / "results.csv"); }

  TemporaryDirectory directory;
  Dataset data{.train = digits(40, 1), .test = digits(20, 2)};
  SweepOptions options;
};

TEST_CASE("A sweep trains every id with every seed and tables them", "[sweep]") {
  FakeSweep fake({"s7_final", "era_model1", "s7_final"}, {1, 7});
  fake.options.settings = {"--device", "cpu"};
  fake.options.other_arguments = {"--threads", "1"};
  const SweepResult result = fake.run();
  CHECK(result.runs == 4);
  CHECK(result.done == 4);
  CHECK(result.failed == 0);
  CHECK(!result.interrupted);
  const std::string out = fake.options.out;
  const auto call = [&](const std::string& id, const std::string& seed) {
    return "train --quiet --model " + id + " --seed " + seed + " --out " + out + "/" + id + "-seed" + seed +
           " --epochs 2 --device cpu --threads 1\n";
  };
  CHECK(fake.calls() ==
        call("s7_final", "1") + call("era_model1", "1") + call("s7_final", "7") + call("era_model1", "7"));

  const std::string table = text_of(fake.options.out / "table.md");
  const std::string printed = fake.printed();
  CHECK(printed.find("4 runs, 0 of them done already; 1 at a time; results in " + out +
                     "\n[1/4] s7_final seed 1: 1.00 % in the last two, 4.0 s an epoch, about ") == 0);
  CHECK(contains(printed, "\n[4/4] era_model1 seed 7: 7.00 % in the last two, 4.0 s an epoch\n\n" + table));
  CHECK(contains(table,
                 "| s7_final          |      7,676 |    2 |  4.000 |  4.000 |  1.00 |  7.00 |     4.0 |"));
  CHECK(contains(text_of(fake.options.out / "table.csv"), "\ns7_final,7676,2,0,4,4,1,7,4,99.48,99.44,"));
}

TEST_CASE("A sweep on validation images compares with nothing that is published", "[sweep]") {
  FakeSweep fake({"s7_final"}, {1});
  fake.options.validation = 10;
  fake.data = with_validation(std::move(fake.data), 10);
  fake.run();
  CHECK(contains(fake.calls(), " --validation 10\n"));
  CHECK(contains(text_of(fake.options.out / "table.csv"), "\ns7_final,7676,1,0,1,1,1,1,4,,,\n"));
  CHECK(!contains(text_of(fake.options.out / "table.md"), "99.48"));
  CHECK(contains(text_of(fake.options.out / "table.md"), "Validation"));
}

TEST_CASE("A sweep trains only what is not there yet", "[sweep]") {
  FakeSweep fake({"s7_final"}, {1, 2});
  fake.run();
  const std::string before = fake.results();
  fake.run();
  CHECK(fake.calls() == "");
  CHECK(fake.results() == before);
  CHECK(contains(fake.printed(), "2 runs, 2 of them done already"));

  fake.options.seeds = {3, 2};
  const SweepResult result = fake.run();
  CHECK(result.runs == 2);
  CHECK(result.done == 2);
  CHECK(contains(fake.calls(), "--seed 3 "));
  CHECK(!contains(fake.calls(), "--seed 2 "));
  CHECK(contains(fake.printed(), "[2/2] s7_final seed 3"));
  CHECK(fake.results().substr(0, before.size()) == before);
  CHECK(contains(text_of(fake.options.out / "table.md"), "|      7,676 |    3 |"));
}

TEST_CASE("A run that fails is recorded, leaves the others alone and is tried again", "[sweep]") {
  FakeSweep fake({"s7_final", "era_model1"}, {1});
  fake.set_script("[ $model = s7_final ] && echo first && echo the loss is NaN >&2 && exit 1");
  const SweepResult result = fake.run();
  CHECK(result.done == 1);
  CHECK(result.failed == 1);
  CHECK(contains(fake.printed(), "[1/2] s7_final seed 1: failed (exit status 1: the loss is NaN), about "));
  CHECK(contains(fake.results(), "\ns7_final,1,failed,2,7676,,,,,,"));
  CHECK(contains(text_of(fake.options.out / "table.md"), "| 0 + 1 failed |"));

  fake.set_script("");
  CHECK(fake.run().failed == 0);
  CHECK(contains(fake.calls(), "s7_final"));
  CHECK(!contains(fake.calls(), "era_model1"));
  CHECK(!contains(fake.results(), "failed"));
}

TEST_CASE("A sweep runs as many at a time as it is told", "[sweep]") {
  // Every run waits for the other one.
  FakeSweep fake({"s7_final"}, {1, 2});
  fake.options.jobs = 2;
  fake.set_script(
      "touch $out/here; until [ -e $out/../s7_final-seed1/here ] && [ -e $out/../s7_final-seed2/here ];"
      "do sleep 0.01; done");
  CHECK(fake.run().done == 2);
}

TEST_CASE("A sweep that is stopped ends its runs, keeps what is done and goes on from there", "[sweep]") {
  FakeSweep fake({"s7_final"}, {1, 2, 3});
  fake.set_script(
      "trap 'echo asked > $out/asked; exit 130' TERM\n"
      "[ $seed = 2 ] && touch $out/ready && while :; do sleep 0.01; done");
  std::atomic<bool> stop = false;
  std::thread stopper([&] {
    while (!std::filesystem::exists(fake.options.out / "s7_final-seed2" / "ready"))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    stop = true;
  });
  const SweepResult result = fake.run(stop);
  stopper.join();
  CHECK(result.interrupted);
  CHECK(result.done == 1);
  CHECK(result.failed == 0);
  CHECK(std::filesystem::exists(fake.options.out / "s7_final-seed2" / "asked"));
  CHECK(!std::filesystem::exists(fake.options.out / "s7_final-seed3"));

  fake.set_script("");
  CHECK(fake.run().done == 3);
  CHECK(!contains(fake.calls(), "--seed 1 "));
  CHECK(contains(fake.calls(), "--seed 2 "));
}

TEST_CASE("A sweep goes on with a run that has begun", "[sweep]") {
  FakeSweep fake({"s7_final"}, {1, 2});
  const auto folder = fake.options.out / "s7_final-seed2";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "state.safetensors") << "of an epoch";
  CHECK(fake.run().done == 2);
  CHECK(contains(fake.calls(), "train --quiet --model s7_final --seed 1 --out " + fake.options.out.string()));
  CHECK(contains(fake.calls(),
                 "train --quiet --model s7_final --seed 2 --resume " + folder.string() + " --epochs 2\n"));
}

TEST_CASE("A sweep does not mix what was trained in different ways", "[sweep]") {
  FakeSweep fake({"s7_final"}, {1});
  fake.run();
  const std::string before = fake.results();
  const std::string place = (fake.options.out / "results.csv").string() + ": s7_final seed 1 ";
  const auto refusal = [&] { return error_of([&] { fake.run(); }); };

  fake.options.epochs = 3;
  fake.options.ids = {"era_model1"};
  CHECK(refusal() == place + "was trained with --epochs 2, which is now 3; give another folder with --out");
  fake.options.epochs = 2;
  fake.options.settings = {"--device", "cuda"};
  CHECK(refusal() ==
        place + "was trained with another recipe, device or data than now; give another folder with --out");
  fake.options.settings = {};
  std::ofstream(fake.options.out / "results.csv", std::ios::app) << "s7_gone,1,failed,2,1,,,,,,ff\n";
  CHECK(contains(refusal(), "s7_gone seed 1 is of a model that is not there any more"));
  std::ofstream(fake.options.out / "results.csv", std::ios::app) << "s7_fin";
  CHECK(refusal() == (fake.options.out / "results.csv").string() + ", line 4: the file ends within the line");
  CHECK(fake.calls() == "");
  CHECK(fake.results() == before + "s7_gone,1,failed,2,1,,,,,,ff\ns7_fin");
}

TEST_CASE("Two sweeps do not work in one folder", "[sweep]") {
  FakeSweep fake({"s7_final"}, {1}), other({"s7_final"}, {2});
  other.options.out = fake.options.out;
  fake.set_script("touch $out/ready; until [ -e $out/go ]; do sleep 0.01; done");
  std::thread first([&] { fake.run(); });
  while (!std::filesystem::exists(fake.options.out / "s7_final-seed1" / "ready"))
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const std::string refusal = error_of([&] { other.run(); });
  std::ofstream(fake.options.out / "s7_final-seed1" / "go") << "";
  first.join();
  CHECK(refusal == fake.options.out.string() +
                       ": another process is at work in this folder; wait for it or give another with --out");
  CHECK(other.run().done == 1);
}

TEST_CASE("A sweep names what it cannot do", "[sweep]") {
  FakeSweep fake({"s7_final", "s8_final"}, {1});
  CHECK(contains(error_of([&] { fake.run(); }),
                 "unknown model \"s8_final\" (did you mean s7_final?), expected one of: s7_iter1, "));
  CHECK(!std::filesystem::exists(fake.options.out));
  fake.options.ids = {"s7_final"};
  std::ofstream(fake.options.out) << "a file";
  CHECK(contains(error_of([&] { fake.run(); }), fake.options.out.string() + ": cannot make the folder: "));
}

}  // namespace
}  // namespace mnist
