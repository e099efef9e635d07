// SPDX-License-Identifier: MIT
#include "report/metrics.h"

#include <cmath>
#include <cstdlib>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

std::vector<EpochMetrics> epochs_of(const std::vector<double>& test_accuracies) {
  std::vector<EpochMetrics> epochs;
  for (const double accuracy : test_accuracies) {
    epochs.push_back({.epoch = static_cast<int>(epochs.size()) + 1, .test_accuracy = accuracy});
  }
  return epochs;
}

}  // namespace

TEST_CASE("percent is the double nearest to the true ratio", "[metrics]") {
  CHECK(percent(9940, 10000) == 99.4);
  CHECK(percent(9827, 10000) == 98.27);
  CHECK(percent(0, 7) == 0);
  CHECK(percent(7, 7) == 100);
  CHECK_THROWS_AS(percent(1, 0), kg::Error);
  CHECK_THROWS_AS(percent(8, 7), kg::Error);
  CHECK_THROWS_AS(percent(-1, 7), kg::Error);
}

TEST_CASE("numbers get a comma every three digits", "[metrics]") {
  CHECK(with_thousands(0) == "0");
  CHECK(with_thousands(999) == "999");
  CHECK(with_thousands(1000) == "1,000");
  CHECK(with_thousands(60000) == "60,000");
  CHECK(with_thousands(1234567) == "1,234,567");
  CHECK(with_thousands(-123) == "-123");
  CHECK(with_thousands(-1234) == "-1,234");
}

TEST_CASE("metrics.csv has the documented header and a row per epoch", "[metrics]") {
  CHECK(metrics_csv({}) == "epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,seconds\n");
  const std::vector<EpochMetrics> epochs = {{1, 0.04, 0.4375, 86.18, 0.0588, 98.27, 46.5},
                                            {2, 0.004, 0.125, 96.3, 0.0355, 98.87, 42}};
  CHECK(metrics_csv(epochs) ==
        "epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,seconds\n"
        "1,0.04,0.4375,86.18,0.0588,98.27,46.5\n"
        "2,0.004,0.125,96.3,0.0355,98.87,42\n");
}

TEST_CASE("the numbers of metrics.csv read back exactly", "[metrics]") {
  const EpochMetrics epoch{
      7, 0.1 + 0.2, 1.0 / 3, 200.0 / 3, 1e-17 / 7, std::nextafter(99.4, 0), 12345.678901234567};
  std::istringstream csv(metrics_csv(std::vector{epoch}));
  std::string line;
  std::getline(csv, line);
  std::vector<double> values;
  while (std::getline(csv, line, ',')) values.push_back(std::strtod(line.c_str(), nullptr));
  CHECK(values == std::vector<double>{7, epoch.lr, epoch.train_loss, epoch.train_accuracy, epoch.test_loss,
                                      epoch.test_accuracy, epoch.seconds});
}

TEST_CASE("batches.csv counts epochs from 1, batches from 0, and accuracy over the epoch", "[metrics]") {
  CHECK(batches_csv({}) == "epoch,batch,loss,accuracy\n");
  const std::vector<BatchTotals> totals = {{0.5, 1, 4}, {0.25, 4, 4}, {0.1 + 0.2, 0, 2}};
  const std::vector<BatchMetrics> batches = batch_metrics(3, totals);
  CHECK(batches_csv(batches) ==
        "epoch,batch,loss,accuracy\n"
        "3,0,0.5,25\n"
        "3,1,0.25,62.5\n"
        "3,2,0.30000000000000004,50\n");
}

TEST_CASE("the goal looks at every one of the last five epochs", "[metrics][goal]") {
  // The first epochs may be bad, and 99.40 counts, however it was computed.
  const auto good =
      epochs_of({98.27, 99.2, 99.45, 99.4, 9940 / 10000. * 100, std::nextafter(99.4, 0), 99.43});
  const GoalVerdict met = judge_goal(good, 7676);
  CHECK(met.met);
  CHECK(
      met.line ==
      "Goal met: test accuracy 99.40 % or more in each of the last 5 epochs (at least 99.40 % needed), 7,676 "
      "parameters (fewer than 8,000 needed), 7 epochs (at most 15 allowed).");

  for (size_t miss = 0; miss < 5; ++miss) {
    auto epochs = good;
    epochs[2 + miss].test_accuracy = 99.39;
    INFO("missed in epoch " << miss + 3);
    const GoalVerdict verdict = judge_goal(epochs, 7676);
    CHECK_FALSE(verdict.met);
    CHECK(verdict.line == "Goal not met: test accuracy 99.39 % in epoch " + std::to_string(miss + 3) +
                              ", at least 99.40 % needed in each of the last 5 epochs.");
  }
}

TEST_CASE("an accuracy that only rounds to the goal does not meet it", "[metrics][goal]") {
  const auto epochs = epochs_of({99.5, 99.5, 99.5, 99.5, percent(993999, 1000000)});
  const GoalVerdict verdict = judge_goal(epochs, 7676);
  CHECK_FALSE(verdict.met);
  CHECK(contains(verdict.line, "99.399900 % in epoch 5, at least 99.40 % needed"));
}

TEST_CASE("an accuracy that is not a number does not meet the goal", "[metrics][goal]") {
  const auto epochs = epochs_of({99.5, 99.5, std::numeric_limits<double>::quiet_NaN(), 99.5, 99.5});
  CHECK_FALSE(judge_goal(epochs, 7676).met);
}

TEST_CASE("a run shorter than five epochs does not meet the goal and says why", "[metrics][goal]") {
  CHECK(judge_goal(epochs_of({99.5, 99.5, 99.5, 99.5}), 7676).line ==
        "Goal not met: only 4 epochs trained, at least 99.40 % needed in each of the last 5 epochs.");
  CHECK(judge_goal({}, 7676).line ==
        "Goal not met: only 0 epochs trained, at least 99.40 % needed in each of the last 5 epochs.");
  CHECK(contains(judge_goal(epochs_of({97.5}), 7676).line, "97.50 % in epoch 1"));
  CHECK_FALSE(judge_goal(epochs_of({97.5}), 7676).met);
}

TEST_CASE("the bounds of the goal are those of the task", "[metrics][goal]") {
  const auto run_of = [](size_t epochs) { return epochs_of(std::vector<double>(epochs, 99.5)); };
  CHECK(judge_goal(run_of(5), 7999).met);
  CHECK(judge_goal(run_of(15), 7999).met);
  CHECK(judge_goal(run_of(15), 8000).line == "Goal not met: 8,000 parameters, fewer than 8,000 needed.");
  CHECK(judge_goal(run_of(16), 7999).line == "Goal not met: 16 epochs, at most 15 allowed.");
}

TEST_CASE("every part of the goal that fails is listed", "[metrics][goal]") {
  std::vector<double> accuracies(20, 99.41);
  accuracies[16] = accuracies[18] = 99.3;
  CHECK(judge_goal(epochs_of(accuracies), 12345).line ==
        "Goal not met: test accuracy 99.30 % in epoch 17 and 99.30 % in epoch 19, at least 99.40 % needed in "
        "each of "
        "the last 5 epochs; 12,345 parameters, fewer than 8,000 needed; 20 epochs, at most 15 allowed.");
}

}  // namespace mnist
