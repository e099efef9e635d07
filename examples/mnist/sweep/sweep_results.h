// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/recipe.h"
#include "report/metrics.h"

namespace mnist {

/// What a training run comes to. Accuracies are of the images that it was tested on, in percent; the last
/// five are all epochs of a run that has fewer.
struct RunFigures {
  double last = 0;  ///< accuracy after the last epoch
  double last_five_mean = 0;
  double last_five_min = 0;
  double best = 0;
  double seconds_per_epoch = 0;  ///< mean, of training alone
};

/// Throws kg::Error if there are no epochs.
RunFigures run_figures(std::span<const EpochMetrics> epochs);

/// A row of a sweep's results.csv.
struct SweepRun {
  std::string id;
  std::uint64_t seed = 0;
  int epochs = 0;
  std::int64_t parameters = 0;
  std::optional<RunFigures> figures;  ///< none: the run failed
  std::string fingerprint;            ///< of all that the figures depend on but for the seed, in hexadecimal
};

/// The text of results.csv: the header
/// `id,seed,status,epochs,parameters,last,last_five_mean,last_five_min,best,seconds_per_epoch,fingerprint`
/// and a row per run. The status is `ok` or `failed`, the figures of a failed run are empty. Every number has
/// the fewest digits that read back as the same double.
std::string results_csv(std::span<const SweepRun> runs);

/// The rows of a results.csv; none if there is no such file. Throws kg::Error, naming file and line, if it is
/// damaged: the file ends within a line, a row lacks a field, a field is no finite number, a run is there
/// twice.
std::vector<SweepRun> read_results(const std::filesystem::path& path);

/// The rows of a metrics.csv. Throws kg::Error like read_results(), and if there is no such file.
std::vector<EpochMetrics> read_metrics(const std::filesystem::path& path);

/// A row of a sweep's table: all runs of one recipe.
struct SweepSummary {
  std::string id;
  std::int64_t parameters = 0;
  int runs = 0;    ///< those that have figures
  int failed = 0;  ///< those that have none
  /// Means over the runs; of last_five_min the smallest, of best the largest.
  std::optional<RunFigures> figures;
  Published published;

  /// Mean of the last five minus the published one, where both are there.
  std::optional<double> difference() const;
};

/// The runs by recipe, in the order of `recipes`. Runs of others are left out.
std::vector<SweepSummary> summarize(std::span<const SweepRun> runs, std::span<const Recipe> recipes);

/// table.md: a Markdown table with a line on what its columns are. `tested` says which images the accuracies
/// are of: "Test" or "Validation".
std::string sweep_table(std::span<const SweepSummary> rows, std::string_view tested = "Test");

/// table.csv: the same with all digits, under the header
/// `id,parameters,runs,failed,last,last_five_mean,last_five_min,best,seconds_per_epoch,published_best,`
/// `published_last_five_mean,difference`. What is not there is empty.
std::string sweep_table_csv(std::span<const SweepSummary> rows);

}  // namespace mnist
