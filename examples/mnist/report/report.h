// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "data/loader.h"
#include "report/confusion_matrix.h"
#include "report/metrics.h"

namespace mnist {

struct ReportOptions {
  std::filesystem::path out;  ///< folder of the files, which is there
  std::string model;          ///< its id
  DatasetName dataset = DatasetName::mnist;
  std::string_view tested = test_name;  ///< name of the split that is tested on
  int tested_images = 0;                ///< how many it has
  bool has_goal = true;                 ///< whether the charts show the goal
  std::string heading = {};             ///< what train.log begins with: lines that were printed already
  bool quiet = false;                   ///< prints nothing; the files are the same
};

/// An epoch of training, and each of its batches.
struct TrainedEpoch {
  EpochMetrics metrics;
  std::vector<BatchTotals> batches;
};

/// What a training run prints, and the files on its course: train.log, metrics.csv and batches.csv after
/// every epoch, curves.png and comparison.png at the end. All of them follow from the options and the epochs:
/// those of a run that was resumed are those of one that was not. Every file is written whole or not at all;
/// what cannot be written throws kg::Error naming it.
class Report {
 public:
  explicit Report(ReportOptions options);

  /// Prints what stands above an epoch's progress.
  void begin_epoch(int epoch, double learning_rate) const;
  /// Ends the epoch that has begun: prints its test, and adds it.
  void end_epoch(TrainedEpoch epoch);
  /// Ends it before its last batch. The log has the line of progress as far as it got.
  void cut_epoch(int epoch, double learning_rate, const std::string& progress);

  /// Adds an epoch, of which nothing is printed.
  void add_epoch(TrainedEpoch epoch);
  const std::vector<TrainedEpoch>& epochs() const { return epochs_; }
  /// The first epoch with the best test accuracy; of one at least.
  const EpochMetrics& best() const;

  /// Writes the log and the tables.
  void write() const;
  /// Ends a run of an epoch at least: prints the results and those of the test of the last epoch by class,
  /// draws the curves, and writes the log once more, with `last_line`, which is printed elsewhere, at its
  /// end.
  void finish(std::int64_t parameters, const ConfusionMatrix& last_test, const std::string& last_line);

 private:
  std::string heading_of(int epoch, double learning_rate) const;
  std::string test_of(const EpochMetrics& epoch) const;
  void show(const std::string& text) const;
  std::vector<EpochMetrics> metrics() const;
  std::vector<BatchMetrics> batches() const;

  ReportOptions options_;
  std::string log_;
  std::vector<TrainedEpoch> epochs_;
};

/// The names of the files that Report, write_test_report() and write_augmented() write, and of those that
/// stand for the end of a run alone.
std::span<const char* const> report_files();
std::span<const char* const> report_files_of_the_end();
/// Those of write_test_report().
std::span<const char* const> test_report_files();

/// How often the images of a split got which prediction.
ConfusionMatrix confusion_of(const Split& split, std::span<const int> predictions, DatasetName dataset);

/// A line per class, "Accuracy of 0 - zero : 99.39 % (974/980)", and nothing for one without images.
std::string class_accuracy_lines(const ConfusionMatrix& confusion, DatasetName dataset);

/// The text of per_class.csv: the header `class,name,images,correct,accuracy` and a row per class; the
/// accuracy in percent is empty for a class without images.
std::string class_accuracy_csv(const ConfusionMatrix& confusion);

/// Writes what the predictions for a split come to into the folder `out`: confusion.png, misclassified.png,
/// per_class.png and per_class.csv, and predictions.png, for images drawn at random with the seed.
void write_test_report(const std::filesystem::path& out, const Split& split, std::span<const int> predictions,
                       DatasetName dataset, std::uint64_t seed);

/// Draws the first images of the first epoch of training to `path`, as a loader with these options makes
/// them, whatever its batch size.
void write_augmented(const std::filesystem::path& path, const Split& split, ImageLoaderOptions options,
                     DatasetName dataset);

}  // namespace mnist
