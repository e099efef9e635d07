// SPDX-License-Identifier: MIT
#include "sweep/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "kernelgrad/error.h"
#include "report/progress.h"
#include "support/files.h"
#include "support/parse_number.h"
#include "sweep/child_process.h"
#include "train/fingerprints.h"
#include "train/run_state.h"

namespace mnist {

namespace {

constexpr std::size_t most_seeds = 10'000;
constexpr auto poll_interval = std::chrono::milliseconds(20);

std::uint64_t parse_seed(std::string_view text, std::string_view seeds) {
  const std::optional<std::uint64_t> seed = parse_number<std::uint64_t>(text);
  if (!seed)
    throw kg::Error(
        fmt::format("seeds: \"{}\" given, expected whole numbers from 0 as in 1,2,3 or 1-3", seeds));
  return *seed;
}

/// "3" or "1-3": the first and the last.
std::pair<std::uint64_t, std::uint64_t> parse_range(std::string_view text, std::string_view seeds) {
  const std::size_t dash = text.find('-');
  const std::uint64_t first = parse_seed(text.substr(0, dash), seeds);
  if (dash == std::string_view::npos) return {first, first};
  const std::uint64_t last = parse_seed(text.substr(dash + 1), seeds);
  if (last < first)
    throw kg::Error(fmt::format("seeds: \"{}\" given, expected the smaller seed of {} first", seeds, text));
  return {first, last};
}

/// One id with one seed.
struct Job {
  const Recipe* recipe;
  std::uint64_t seed;

  std::string name() const { return fmt::format("{} seed {}", recipe->id, seed); }
  std::filesystem::path folder(const std::filesystem::path& out) const {
    return out / fmt::format("{}-seed{}", recipe->id, seed);
  }
};

bool is_of(const SweepRun& run, const Job& job) { return run.id == job.recipe->id && run.seed == job.seed; }

std::vector<Job> jobs_of(const SweepOptions& options) {
  std::vector<const Recipe*> asked;
  for (const std::string& id : options.ids)
    if (const Recipe& recipe = find_recipe(id); std::ranges::find(asked, &recipe) == asked.end())
      asked.push_back(&recipe);
  if (options.ids.empty())
    for (const Recipe& recipe : recipes()) asked.push_back(&recipe);
  std::vector<Job> jobs;
  for (const std::uint64_t seed : options.seeds)
    for (const Recipe* recipe : asked) jobs.push_back({recipe, seed});
  return jobs;
}

std::vector<std::string> arguments_of(const Job& job, const SweepOptions& options) {
  const std::filesystem::path folder = job.folder(options.out);
  std::vector<std::string> arguments = {"train",
                                        "--quiet",
                                        "--model",
                                        std::string(job.recipe->id),
                                        "--seed",
                                        std::to_string(job.seed),
                                        has_state(folder) ? "--resume" : "--out",
                                        folder.string()};
  if (options.epochs) arguments.insert(arguments.end(), {"--epochs", std::to_string(*options.epochs)});
  if (options.validation)
    arguments.insert(arguments.end(), {"--validation", std::to_string(*options.validation)});
  for (const auto* more : {&options.settings, &options.other_arguments})
    arguments.insert(arguments.end(), more->begin(), more->end());
  return arguments;
}

/// Empty if there is none.
std::string last_line_of(const std::filesystem::path& path) {
  std::ifstream stream(path);
  std::string last, line;
  while (std::getline(stream, line))
    if (!line.empty()) last = line;
  return last;
}

std::string last_epochs_text(int epochs) {
  static constexpr const char* names[] = {"epoch", "two", "three", "four", "five"};
  return fmt::format("in the last {}", names[std::clamp(epochs, 1, 5) - 1]);
}

class Sweep {
 public:
  Sweep(const Dataset& data, const SweepOptions& options)
      : data_(data), options_(options), jobs_(jobs_of(options)), lock_(options.out, true) {
    runs_ = read_results(results_path());
    check_settings();
    // Those that failed are tried again.
    std::erase_if(runs_, [&](const SweepRun& run) {
      return !run.figures && std::ranges::any_of(jobs_, [&](const Job& job) { return is_of(run, job); });
    });
    result_.runs = static_cast<int>(jobs_.size());
    std::erase_if(jobs_, [&](const Job& job) {
      return std::ranges::any_of(runs_, [&](const SweepRun& run) { return is_of(run, job); });
    });
    result_.done = result_.runs - static_cast<int>(jobs_.size());
  }

  SweepResult run(const std::atomic<bool>& stop) {
    fmt::print(options_.messages, "{} runs, {} of them done already; {} at a time; results in {}\n",
               result_.runs, result_.done, options_.jobs, options_.out.string());
    std::fflush(options_.messages);
    start_ = monotonic_seconds();
    std::size_t next = 0;
    while (next < jobs_.size() || !running_.empty()) {
      if (stop) return end_early();
      while (next < jobs_.size() && running_.size() < static_cast<std::size_t>(options_.jobs))
        start_run(jobs_[next++]);
      collect();
      // Polling sees a signal that came at any moment; a wait in the system could miss one just before it.
      std::this_thread::sleep_for(poll_interval);
    }
    write_tables();
    fmt::print(options_.messages, "\n{}", sweep_table(rows(), tested()));
    return result_;
  }

 private:
  struct Running {
    Job job;
    ChildProcess process;
  };

  std::filesystem::path results_path() const { return options_.out / "results.csv"; }

  const std::string& fingerprint_of(const Recipe& recipe) {
    std::string& known = fingerprints_[recipe.id];
    if (known.empty()) known = fingerprint(recipe, data_, options_);
    return known;
  }

  int epochs_of(const Recipe& recipe) const { return options_.epochs.value_or(recipe.epochs); }

  /// A table of runs that were trained in different ways would compare what cannot be compared.
  void check_settings() {
    for (const SweepRun& run : runs_) {
      const std::string place = fmt::format("{}: {} seed {} ", results_path().string(), run.id, run.seed);
      const auto recipe = std::ranges::find(recipes(), run.id, &Recipe::id);
      if (recipe == recipes().end()) throw kg::Error(place + "is of a model that is not there any more");
      if (run.epochs != epochs_of(*recipe))
        throw kg::Error(
            fmt::format("{}was trained with --epochs {}, which is now {}; give another folder with --out",
                        place, run.epochs, epochs_of(*recipe)));
      if (run.fingerprint != fingerprint_of(*recipe))
        throw kg::Error(
            place +
            "was trained with another recipe, device or data than now; give another folder with --out");
    }
  }

  void start_run(const Job& job) {
    const std::filesystem::path folder = job.folder(options_.out);
    try {
      make_folder(folder);
      running_.push_back(
          {job, ChildProcess(options_.program, arguments_of(job, options_), folder / "output.txt")});
    } catch (const kg::Error& error) {
      record(job, error.what());
    }
  }

  /// Records the runs that have ended.
  void collect() {
    for (std::size_t i = 0; i < running_.size();) {
      if (!running_[i].process.has_ended()) {
        ++i;
        continue;
      }
      const Running ended = std::move(running_[i]);
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
      std::string failure = ended.process.failure();
      if (const std::string reason = last_line_of(ended.job.folder(options_.out) / "output.txt");
          !failure.empty() && !reason.empty())
        failure += ": " + reason;
      record(ended.job, failure);
    }
  }

  /// `failure` is empty if the run has done its work.
  void record(const Job& job, const std::string& failure) {
    const Recipe& recipe = *job.recipe;
    SweepRun run{.id = std::string(recipe.id),
                 .seed = job.seed,
                 .epochs = epochs_of(recipe),
                 .parameters = recipe.network().parameter_count(),
                 .figures = {},
                 .fingerprint = fingerprint_of(recipe)};
    if (failure.empty()) run.figures = run_figures(read_metrics(job.folder(options_.out) / "metrics.csv"));
    ++(run.figures ? result_.done : result_.failed);
    ++ended_;
    runs_.push_back(run);
    write_text(results_path(), results_csv(runs_));
    write_tables();
    print_progress(run, failure);
  }

  /// What is published is of the test images: nothing to compare others with.
  std::vector<SweepSummary> rows() const {
    std::vector<SweepSummary> rows = summarize(runs_, recipes());
    if (options_.validation)
      for (SweepSummary& row : rows) row.published = {};
    return rows;
  }

  std::string_view tested() const { return options_.validation ? "Validation" : "Test"; }

  void write_tables() const {
    const std::vector<SweepSummary> table = rows();
    write_text(options_.out / "table.md", sweep_table(table, tested()));
    write_text(options_.out / "table.csv", sweep_table_csv(table));
  }

  void print_progress(const SweepRun& run, const std::string& failure) const {
    const int finished = result_.done + result_.failed;
    const int left = result_.runs - finished;
    const double seconds_left = (monotonic_seconds() - start_) / ended_ * left;
    const std::string outcome =
        run.figures ? fmt::format("{:.2f} % {}, {:.1f} s an epoch", run.figures->last_five_mean,
                                  last_epochs_text(run.epochs), run.figures->seconds_per_epoch)
                    : fmt::format("failed ({})", failure);
    const std::string time_left =
        left > 0 ? fmt::format(", about {} left", rough_time(seconds_left)) : std::string();
    fmt::print(options_.messages, "[{}/{}] {} seed {}: {}{}\n", finished, result_.runs, run.id, run.seed,
               outcome, time_left);
    std::fflush(options_.messages);
  }

  SweepResult end_early() {
    for (Running& running : running_) running.process.ask_to_end();
    running_.clear();  // waits for them
    result_.interrupted = true;
    return result_;
  }

  const Dataset& data_;
  const SweepOptions& options_;
  std::vector<Job> jobs_;  ///< those that are to be trained
  FolderLock lock_;  ///< the runs' too: what is left behind by a sweep that was killed may still be writing
  std::vector<SweepRun> runs_;  ///< the rows of results.csv
  std::map<std::string_view, std::string> fingerprints_;
  SweepResult result_;
  std::vector<Running> running_;
  double start_ = 0;
  int ended_ = 0;  ///< runs that this sweep has trained
};

}  // namespace

std::vector<std::uint64_t> parse_seeds(std::string_view text) {
  std::vector<std::uint64_t> seeds;
  for (std::size_t start = 0, end = 0; end < text.size() || start == 0; start = end + 1) {
    end = std::min(text.find(',', start), text.size());
    const auto [first, last] = parse_range(text.substr(start, end - start), text);
    if (last - first >= most_seeds - seeds.size())
      throw kg::Error(fmt::format("seeds: \"{}\" given, expected {} seeds at most", text, most_seeds));
    for (std::uint64_t i = 0; i <= last - first; ++i)
      if (std::ranges::find(seeds, first + i) == seeds.end()) seeds.push_back(first + i);
  }
  return seeds;
}

std::string fingerprint(const Recipe& recipe, const Dataset& data, const SweepOptions& options) {
  std::string text = fmt::format("{}data {:08x}\nvalidation {}\nepochs {}\n", recipe_text(recipe, data.train),
                                 checksum(data.test, checksum(data.train)), options.validation.value_or(0),
                                 options.epochs.value_or(recipe.epochs));
  for (const std::string& setting : options.settings) text += setting + "\n";
  return fingerprint(text);
}

std::string rough_time(double seconds) {
  if (std::lround(seconds) < 60) return fmt::format("{} s", std::lround(seconds));
  const auto minutes = std::lround(seconds / 60);
  if (minutes < 60) return fmt::format("{} min", minutes);
  return fmt::format("{} h {} min", minutes / 60, minutes % 60);
}

SweepResult sweep(const Dataset& data, const SweepOptions& options, const std::atomic<bool>& stop) {
  return Sweep(data, options).run(stop);
}

}  // namespace mnist
