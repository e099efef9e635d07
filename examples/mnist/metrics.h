#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace mnist {

/// What one epoch of training measured.
struct EpochMetrics {
  int epoch = 0;              ///< counted from 1
  double lr = 0;              ///< learning rate of this epoch
  double train_loss = 0;      ///< mean negative log-likelihood per image, in nats
  double train_accuracy = 0;  ///< percent
  double test_loss = 0;       ///< mean negative log-likelihood per image, in nats
  double test_accuracy = 0;   ///< percent
  double seconds = 0;         ///< of training alone, without the test
};

/// The accuracy in percent; correctly rounded, so that 9,940 of 10,000 is exactly the double 99.4.
/// Throws kg::Error unless 0 <= correct <= total and total > 0.
double percent(int64_t correct, int64_t total);

/// 60000 -> "60,000".
std::string with_thousands(int64_t number);

/// The text of metrics.csv: the header `epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,seconds`
/// and a row per epoch. Every number has the fewest digits that read back as the same double.
std::string metrics_csv(std::span<const EpochMetrics> epochs);

/// Writes `metrics_csv(epochs)` to `path`, whole or not at all; meant to be called after every epoch, so that
/// an interrupted run leaves the epochs it finished. Throws kg::Error naming `path`.
void write_metrics_csv(const std::filesystem::path& path, std::span<const EpochMetrics> epochs);

/// What a model has to reach: accurate not once but at the end, small, and quickly trained.
struct Goal {
  double test_accuracy = 99.4;  ///< percent, at least this in each of the last epochs
  int last_epochs = 5;          ///< how many epochs count as the last
  int64_t parameters_below = 8000;
  int max_epochs = 15;
};

struct GoalVerdict {
  bool met = false;
  std::string line;  ///< one line without newline: met or not, and every part that fails with its figures
};

/// Judges a run by all of its epochs, in order. A run with fewer than `goal.last_epochs` epochs does not meet
/// the goal; neither does an accuracy that is NaN.
GoalVerdict judge_goal(std::span<const EpochMetrics> epochs, int64_t parameters, const Goal& goal = {});

}  // namespace mnist
