// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "models/recipe.h"
#include "sweep/sweep_results.h"

namespace mnist {

/// Which runs, and how.
struct SweepOptions {
  std::vector<std::string> ids = {};  ///< none: all recipes
  std::vector<std::uint64_t> seeds = {1, 2, 3};
  std::filesystem::path out = "runs/sweep";
  std::optional<int> epochs = {};  ///< default: each recipe's
  /// How many training images the runs hold out and test on, as with_validation() does; `data` has them held
  /// out already. Default: they test on the test images.
  std::optional<int> validation = {};
  int jobs = 1;  ///< how many runs train at the same time, each a process
  /// Of `mnist train`, for every run: those on which the results depend, and the others.
  std::vector<std::string> settings = {}, other_arguments = {};
  std::filesystem::path program = "/proc/self/exe";  ///< mnist: this very file, even once it is rebuilt
  std::FILE* messages = stdout;
};

/// What came of the runs.
struct SweepResult {
  int runs = 0;  ///< as many as were asked for
  int done = 0;  ///< those that have figures, of earlier sweeps too
  int failed = 0;
  bool interrupted = false;
};

/// "1,2,3" or "1-3" or both: "1-3,7". In that order, each once. Throws kg::Error for anything else, and for
/// more than 10,000 seeds.
std::vector<std::uint64_t> parse_seeds(std::string_view text);

/// Of all that a run's figures depend on but for its seed (and for rounding): the recipe, the data,
/// `validation`, `epochs` and `settings`. Eight hexadecimal digits. Blind to what an nn::Functional calls.
std::string fingerprint(const Recipe& recipe, const Dataset& data, const SweepOptions& options);

/// "45 s", "12 min", "2 h 10 min"
std::string rough_time(double seconds);

/// Trains every id with every seed, as `mnist train --quiet` in options.out/ID-seedS, where output.txt has
/// what it printed, and prints a line when it is done. After each run results.csv, table.md and table.csv in
/// options.out are replaced, as whole files. The first seed's runs come first: the table is soon there for
/// all ids.
///
/// Runs that results.csv has figures of are not trained again, and others whose folders have a RunState go on
/// from there. One that fails is recorded as failed, leaves the others alone, and is tried again in the next
/// sweep. Once `stop` is true the runs in progress are ended and not recorded.
///
/// Throws kg::Error for an unknown id, if another sweep is at work in the folder, if a file cannot be written
/// (the runs in progress are ended), and for a results.csv that is damaged or has a run which was trained
/// otherwise than it would be now.
SweepResult sweep(const Dataset& data, const SweepOptions& options, const std::atomic<bool>& stop);

}  // namespace mnist
