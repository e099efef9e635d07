// SPDX-License-Identifier: MIT
#include "sweep/sweep_results.h"

#include <cmath>
#include <fstream>

#include "catch.h"
#include "idx_fixture.h"

namespace mnist {
namespace {

const std::string header =
    "id,seed,status,epochs,parameters,last,last_five_mean,last_five_min,best,seconds_per_epoch,fingerprint\n";

bool near(double a, double b) { return std::abs(a - b) < 1e-9; }

std::vector<EpochMetrics> epochs_of(const std::vector<double>& accuracies) {
  std::vector<EpochMetrics> epochs;
  for (const double accuracy : accuracies)
    epochs.push_back({.epoch = static_cast<int>(epochs.size()) + 1,
                      .test_accuracy = accuracy,
                      .seconds = static_cast<double>(epochs.size())});
  return epochs;
}

std::filesystem::path write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
  return path;
}

SweepRun run_of(const std::string& id, std::uint64_t seed, std::optional<RunFigures> figures) {
  return {.id = id,
          .seed = seed,
          .epochs = 15,
          .parameters = 7676,
          .figures = figures,
          .fingerprint = "0a1b2c3d"};
}

TEST_CASE("A run's figures: the last five epochs, the best of all, seconds of all", "[sweep]") {
  const RunFigures seven = run_figures(epochs_of({99, 10, 96, 91, 95, 97, 94}));
  CHECK(seven.last == 94);
  CHECK(near(seven.last_five_mean, 94.6));
  CHECK(seven.last_five_min == 91);
  CHECK(seven.best == 99);
  CHECK(near(seven.seconds_per_epoch, 3));
  const RunFigures two = run_figures(epochs_of({90, 80}));
  CHECK(near(two.last_five_mean, 85));
  CHECK(two.last_five_min == 80);
  CHECK(two.best == 90);
  CHECK(error_of([] { run_figures({}); }) == "run_figures: no epochs given, expected at least 1");
}

TEST_CASE("results.csv is read as it was written", "[sweep]") {
  const TemporaryDirectory directory;
  CHECK(read_results(directory / "results.csv").empty());
  const std::vector<SweepRun> runs = {
      run_of("s7_final", 18446744073709551615u, RunFigures{99.4, 0.1 + 0.2, 1e-300, 100, 4.9}),
      run_of("era_model1", 0, std::nullopt)};
  const std::string text = results_csv(runs);
  CHECK(text ==
        header +
            "s7_final,18446744073709551615,ok,15,7676,99.4,0.30000000000000004,1e-300,100,4.9,0a1b2c3d\n"
            "era_model1,0,failed,15,7676,,,,,,0a1b2c3d\n");
  const std::vector<SweepRun> read = read_results(write(directory / "results.csv", text));
  REQUIRE(read.size() == 2);
  REQUIRE(read[0].figures);
  CHECK(read[0].figures->last_five_mean == 0.1 + 0.2);
  CHECK(!read[1].figures);
  CHECK(results_csv(read) == text);
}

TEST_CASE("A damaged results.csv is refused, with the line and what is wrong with it", "[sweep]") {
  const TemporaryDirectory directory;
  const auto path = directory / "results.csv";
  const std::string good = "a,1,ok,15,7676,99,98,97,99.5,4,ff\n";
  const auto [text, message] = GENERATE_COPY(table<std::string, std::string>({
      {"", "line 1: \"\", expected \"id,seed,"},
      {"id,seed\n", "line 1: \"id,seed\", expected \"id,seed,status,"},
      {header.substr(0, header.size() - 1), "line 1: the file ends within the line"},
      {header + good + good.substr(0, good.size() - 1), "line 3: the file ends within the line"},
      {header + good + "a,2,ok,15\n", "line 3: 4 fields, expected 11 (id,seed,"},
      {header + "a,1,ok,15,7676,99,98,97,99.5,4,ff,more\n", "line 2: 12 fields, expected 11"},
      {header + "\n" + good, "line 2: 1 fields, expected 11"},
      {header + "a,1,ok,15,7676,99,98,97,99.5x,4,ff\n", "line 2: best is \"99.5x\", expected a number"},
      {header + "a,1,ok,15,7676,nan,98,97,99.5,4,ff\n", "line 2: last is \"nan\", expected a number"},
      {header + "a,1,ok,15,7676,,98,97,99.5,4,ff\n", "line 2: last is \"\", expected a number"},
      {header + "a,-1,ok,15,7676,99,98,97,99.5,4,ff\n", "line 2: seed is \"-1\", expected a number"},
      {header + "a,1,ok,1.5,7676,99,98,97,99.5,4,ff\n", "line 2: epochs is \"1.5\", expected a number"},
      {header + ",1,ok,15,7676,99,98,97,99.5,4,ff\n", "line 2: id is \"\", expected some text"},
      {header + "a,1,fine,15,7676,99,98,97,99.5,4,ff\n", "line 2: status is \"fine\", expected ok or failed"},
      {header + "a,1,failed,15,7676,99,,,,,ff\n", "line 2: last is \"99\", expected nothing"},
      {header + "a,1,ok,15,7676,99,98,97,99.5,4,\n", "line 2: fingerprint is \"\", expected some text"},
      {header + good + good, "line 3: a seed 1 is there a second time, expected one row per run"},
  }));
  write(path, text);
  const std::string error = error_of([&] { read_results(path); });
  INFO(error);
  CHECK(error.rfind(path.string() + ", " + message, 0) == 0);
}

TEST_CASE("metrics.csv is read as it was written", "[sweep]") {
  const TemporaryDirectory directory;
  std::vector<EpochMetrics> epochs = epochs_of({90.25, 91});
  epochs[1].lr = 0.1;
  epochs[1].train_loss = 0.3;
  epochs[1].train_accuracy = 0.4;
  epochs[1].test_loss = 0.5;
  const auto path = write(directory / "metrics.csv", metrics_csv(epochs));
  CHECK(metrics_csv(read_metrics(path)) == metrics_csv(epochs));
  CHECK(error_of([&] { read_metrics(directory / "nowhere"); }) ==
        (directory / "nowhere").string() + ": cannot be read: No such file or directory");
}

std::vector<SweepSummary> three_rows() {
  const Recipe published{.id = "s7_final",
                         .description = "",
                         .network = nullptr,
                         .augmentation = nullptr,
                         .sgd = {},
                         .published = {.best = 99.48, .last_five_mean = 99.44}};
  Recipe unpublished = published, broken = published, not_run = published;
  unpublished.id = "s7_iter6_gapfirst";
  unpublished.published = {};
  broken.id = "broken";
  not_run.id = "not_run";
  const std::vector<Recipe> recipes = {broken, not_run, unpublished, published};
  const std::vector<SweepRun> runs = {run_of("s7_final", 1, RunFigures{99.40, 99.41, 99.38, 99.50, 4}),
                                      run_of("s7_iter6_gapfirst", 1, RunFigures{9, 8, 7, 10, 12.34}),
                                      run_of("s7_final", 2, RunFigures{99.45, 99.44, 99.39, 99.47, 6}),
                                      run_of("gone", 2, RunFigures{1, 1, 1, 1, 1}),
                                      run_of("s7_final", 3, std::nullopt),
                                      run_of("broken", 1, std::nullopt)};
  return summarize(runs, recipes);
}

TEST_CASE("A sweep's table is over the seeds, in the order of the recipes", "[sweep]") {
  const std::vector<SweepSummary> rows = three_rows();
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].id == "broken");
  CHECK(!rows[0].figures);
  CHECK(!rows[0].difference());
  CHECK(!rows[1].difference());
  CHECK(rows[2].runs == 2);
  CHECK(rows[2].failed == 1);
  REQUIRE(rows[2].figures);
  CHECK(near(rows[2].figures->last, 99.425));
  CHECK(near(rows[2].figures->last_five_mean, 99.425));
  CHECK(rows[2].figures->last_five_min == 99.38);
  CHECK(rows[2].figures->best == 99.50);
  CHECK(rows[2].figures->seconds_per_epoch == 5);
  CHECK(near(rows[2].difference().value(), -0.015));
}

TEST_CASE("A sweep's table as Markdown", "[sweep]") {
  const std::string table = sweep_table(three_rows());
  CHECK(table.substr(table.find('|')) ==
        // clang-format off
        "| id                | parameters | runs |   last | mean 5 | min 5 |  best | s/epoch | publ. best | publ. mean 5 | difference |\n"
        "| ----------------- | ---------: | ---: | -----: | -----: | ----: | ----: | ------: | ---------: | -----------: | ---------: |\n"
        "| broken            |      7,676 | 0 + 1 failed |        |        |       |       |         |      99.48 |       99.440 |            |\n"
        "| s7_iter6_gapfirst |      7,676 |    1 |  9.000 |  8.000 |  7.00 | 10.00 |    12.3 |            |              |            |\n"
        "| s7_final          |      7,676 | 2 + 1 failed | 99.425 | 99.425 | 99.38 | 99.50 |     5.0 |      99.48 |       99.440 |     -0.015 |\n");
  // clang-format on
}

TEST_CASE("A sweep's table as CSV", "[sweep]") {
  std::vector<SweepSummary> rows = three_rows();
  rows[2].figures = RunFigures{99.5, 99.25, 99.38, 99.5, 5};
  rows[2].published.last_five_mean = 99.125;
  CHECK(sweep_table_csv(rows) ==
        "id,parameters,runs,failed,last,last_five_mean,last_five_min,best,seconds_per_epoch,published_best,"
        "published_last_five_mean,difference\n"
        "broken,7676,0,1,,,,,,99.48,99.44,\n"
        "s7_iter6_gapfirst,7676,1,0,9,8,7,10,12.34,,,\n"
        "s7_final,7676,2,1,99.5,99.25,99.38,99.5,5,99.48,99.125,0.125\n");
}

}  // namespace
}  // namespace mnist
