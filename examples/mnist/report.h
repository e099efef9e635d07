#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "confusion_matrix.h"
#include "dataset.h"
#include "loader.h"
#include "metrics.h"

namespace mnist {

struct ReportOptions {
  std::filesystem::path out;  ///< folder of the files
  std::string model;          ///< its id
  DatasetName dataset = DatasetName::mnist;
  std::string_view tested = test_name;  ///< name of the split that is tested on
  std::string heading = {};             ///< what train.log begins with: lines that were printed already
  bool quiet = false;                   ///< prints nothing; the files are the same
};

/// What a training run prints, and the files on its course: train.log, metrics.csv and batches.csv after
/// every epoch, curves.png and comparison.png at the end. Every file is written whole or not at all; what
/// cannot be written throws kg::Error naming it.
class Report {
 public:
  /// Makes the folder. Throws kg::Error if that is not possible.
  explicit Report(ReportOptions options);

  /// Prints a text and adds it to the log.
  void print(const std::string& text);
  /// Adds a text to the log alone, for it is printed elsewhere.
  void record(const std::string& text);

  /// Adds an epoch and what its batches measured, and writes the log and the tables anew. The first one
  /// removes what the end of an earlier run left in the folder.
  void add_epoch(const EpochMetrics& epoch, std::span<const BatchTotals> batches);
  const std::vector<EpochMetrics>& epochs() const { return epochs_; }

  /// Ends a run of an epoch at least: prints the results and those of the test of the last epoch by class,
  /// draws the curves, and writes the log once more, with `last_line`, which is printed elsewhere, at its
  /// end.
  void finish(std::int64_t parameters, const ConfusionMatrix& last_test, const std::string& last_line);

 private:
  void write_log() const;

  ReportOptions options_;
  std::string log_;
  std::vector<EpochMetrics> epochs_;
  std::vector<BatchMetrics> batches_;
};

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
void write_augmented(const std::filesystem::path& path, const Split& split, LoaderOptions options,
                     DatasetName dataset);

}  // namespace mnist
