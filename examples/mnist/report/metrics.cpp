// SPDX-License-Identifier: MIT
#include "report/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "kernelgrad/error.h"

namespace mnist {
namespace {

// Far below what one image changes (1e-4 points of a million images), far above the rounding of an accuracy
// that was computed another way (9940 / 10000. * 100).
constexpr double percent_tolerance = 1e-6;

bool reaches(double accuracy, double goal) { return accuracy >= goal - percent_tolerance; }

/// Two decimals, and more where two would make a missed goal look reached ("99.40 %, at least 99.40 %
/// needed").
std::string missed_accuracy(double accuracy, double goal) {
  const std::string rounded = fmt::format("{:.2f}", accuracy);
  return rounded == fmt::format("{:.2f}", goal) ? fmt::format("{:.6f}", accuracy) : rounded;
}

std::string join_and(const std::vector<std::string>& parts) {
  if (parts.size() < 2) return fmt::format("{}", fmt::join(parts, ""));
  return fmt::format("{} and {}", fmt::join(parts.begin(), parts.end() - 1, ", "), parts.back());
}

/// Empty when every one of the last epochs is accurate enough.
std::string accuracy_failure(std::span<const EpochMetrics> epochs, const Goal& goal) {
  const auto wanted = static_cast<size_t>(goal.last_epochs);
  std::vector<std::string> missed;
  for (const EpochMetrics& epoch : epochs.last(std::min(wanted, epochs.size()))) {
    if (!reaches(epoch.test_accuracy, goal.test_accuracy)) {
      missed.push_back(fmt::format("{} % in epoch {}",
                                   missed_accuracy(epoch.test_accuracy, goal.test_accuracy), epoch.epoch));
    }
  }
  const std::string needed = fmt::format("at least {:.2f} % needed in each of the last {} epochs",
                                         goal.test_accuracy, goal.last_epochs);
  if (!missed.empty()) return fmt::format("test accuracy {}, {}", join_and(missed), needed);
  if (epochs.size() < wanted) {
    return fmt::format("only {} trained, {}",
                       count_of(static_cast<int64_t>(epochs.size()), "epoch", "epochs"), needed);
  }
  return {};
}

double lowest_accuracy(std::span<const EpochMetrics> epochs) {
  return std::min_element(epochs.begin(), epochs.end(),
                          [](const auto& a, const auto& b) { return a.test_accuracy < b.test_accuracy; })
      ->test_accuracy;
}

}  // namespace

std::vector<BatchMetrics> batch_metrics(int epoch, std::span<const BatchTotals> batches) {
  std::vector<BatchMetrics> metrics;
  int64_t correct = 0, images = 0;
  for (const BatchTotals& batch : batches) {
    correct += batch.correct;
    images += batch.images;
    metrics.push_back({.epoch = epoch,
                       .batch = static_cast<int>(metrics.size()),
                       .loss = batch.loss,
                       .accuracy = percent(correct, images)});
  }
  return metrics;
}

double percent(int64_t correct, int64_t total) {
  if (total <= 0 || correct < 0 || correct > total) {
    throw kg::Error(fmt::format("percent: {} correct of {}, expected 0 <= correct <= total and total > 0",
                                correct, total));
  }
  return 100.0 * static_cast<double>(correct) / static_cast<double>(total);
}

std::string with_thousands(int64_t number) {
  std::string text = fmt::format("{}", number);
  const int first_digit = number < 0 ? 1 : 0;
  for (int i = static_cast<int>(text.size()) - 3; i > first_digit; i -= 3)
    text.insert(static_cast<size_t>(i), 1, ',');
  return text;
}

std::string capitalized(std::string_view word) {
  std::string text(word);
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

std::string count_of(int64_t count, const char* singular, const char* plural) {
  return fmt::format("{} {}", with_thousands(count), count == 1 ? singular : plural);
}

std::string metrics_csv(std::span<const EpochMetrics> epochs) {
  std::string csv = std::string(metrics_header) + "\n";
  for (const EpochMetrics& e : epochs) {
    csv += fmt::format("{},{},{},{},{},{},{}\n", e.epoch, e.lr, e.train_loss, e.train_accuracy, e.test_loss,
                       e.test_accuracy, e.seconds);
  }
  return csv;
}

std::string batches_csv(std::span<const BatchMetrics> batches) {
  std::string csv = "epoch,batch,loss,accuracy\n";
  for (const BatchMetrics& b : batches)
    csv += fmt::format("{},{},{},{}\n", b.epoch, b.batch, b.loss, b.accuracy);
  return csv;
}

GoalVerdict judge_goal(std::span<const EpochMetrics> epochs, int64_t parameters, const Goal& goal) {
  const auto trained = static_cast<int64_t>(epochs.size());
  std::vector<std::string> failures;
  if (std::string failure = accuracy_failure(epochs, goal); !failure.empty())
    failures.push_back(std::move(failure));
  if (parameters >= goal.parameters_below) {
    failures.push_back(fmt::format("{}, fewer than {} needed",
                                   count_of(parameters, "parameter", "parameters"),
                                   with_thousands(goal.parameters_below)));
  }
  if (trained > goal.max_epochs) {
    failures.push_back(
        fmt::format("{}, at most {} allowed", count_of(trained, "epoch", "epochs"), goal.max_epochs));
  }
  if (!failures.empty()) return {false, fmt::format("Goal not met: {}.", fmt::join(failures, "; "))};

  const double lowest = lowest_accuracy(epochs.last(static_cast<size_t>(goal.last_epochs)));
  return {true,
          fmt::format(
              "Goal met: test accuracy {:.2f} % or more in each of the last {} epochs (at least {:.2f} % "
              "needed), {} (fewer than {} needed), {} (at most {} allowed).",
              lowest, goal.last_epochs, goal.test_accuracy, count_of(parameters, "parameter", "parameters"),
              with_thousands(goal.parameters_below), count_of(trained, "epoch", "epochs"), goal.max_epochs)};
}

}  // namespace mnist
