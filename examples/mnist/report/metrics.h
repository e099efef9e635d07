// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/epoch_totals.h"

namespace mnist {

/// What one epoch of training measured. What is tested on may be validation images.
struct EpochMetrics {
  int epoch = 0;              ///< counted from 1
  double lr = 0;              ///< learning rate of this epoch's first batch
  double train_loss = 0;      ///< mean negative log-likelihood per image, in nats
  double train_accuracy = 0;  ///< percent
  double test_loss = 0;       ///< mean negative log-likelihood per image, in nats
  double test_accuracy = 0;   ///< percent
  double seconds = 0;         ///< of training alone, without the test
};

/// What training had measured after one batch.
struct BatchMetrics {
  int epoch = 0;        ///< counted from 1
  int batch = 0;        ///< counted from 0, as in the log
  double loss = 0;      ///< of this batch: mean negative log-likelihood per image, in nats
  double accuracy = 0;  ///< percent of the epoch's images so far
};

/// The metrics of an epoch's batches, in order.
std::vector<BatchMetrics> batch_metrics(int epoch, std::span<const BatchTotals> batches);

/// The accuracy in percent; correctly rounded, so that 9,940 of 10,000 is exactly the double 99.4.
/// Throws kg::Error unless 0 <= correct <= total and total > 0.
double percent(int64_t correct, int64_t total);

/// 60000 -> "60,000".
std::string with_thousands(int64_t number);

/// "validation" -> "Validation".
std::string capitalized(std::string_view word);

/// "1 epoch", "1,234 epochs"
std::string count_of(int64_t count, const char* singular, const char* plural);

/// The first line of metrics.csv.
inline constexpr std::string_view metrics_header =
    "epoch,lr,train_loss,train_accuracy,test_loss,test_accuracy,seconds";

/// The text of metrics.csv: metrics_header and a row per epoch. Every number has the fewest digits that read
/// back as the same double.
std::string metrics_csv(std::span<const EpochMetrics> epochs);

/// The text of batches.csv: the header `epoch,batch,loss,accuracy` and a row per batch, with numbers as those
/// of metrics_csv().
std::string batches_csv(std::span<const BatchMetrics> batches);

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
