// SPDX-License-Identifier: MIT
#include "sweep/sweep_results.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <optional>
#include <set>
#include <string_view>
#include <type_traits>
#include <utility>

#include "kernelgrad/error.h"
#include "support/parse_number.h"

namespace mnist {

namespace {

constexpr std::string_view results_header =
    "id,seed,status,epochs,parameters,last,last_five_mean,last_five_min,best,seconds_per_epoch,fingerprint";
constexpr std::string_view table_header =
    "id,parameters,runs,failed,last,last_five_mean,last_five_min,best,seconds_per_epoch,published_best,"
    "published_last_five_mean,difference";

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const std::size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// A row of a table, whose fields are read one after the other under the names of its header.
class CsvRow {
 public:
  CsvRow(std::string place, std::string_view header, std::string_view line)
      : place_(std::move(place)), names_(split(header, ',')), fields_(split(line, ',')) {
    if (fields_.size() != names_.size())
      throw kg::Error(
          fmt::format("{}: {} fields, expected {} ({})", place_, fields_.size(), names_.size(), header));
  }

  std::string text() {
    if (fields_[next_].empty()) refuse("some text");
    return fields_[next_++];
  }
  template <class T>
  T number() {
    const std::optional<T> value = parse_number<T>(fields_[next_]);
    if (!value) refuse("a number");
    if constexpr (std::is_floating_point_v<T>)
      if (!std::isfinite(*value)) refuse("a number");
    ++next_;
    return *value;
  }
  void skip_empty() {
    if (!fields_[next_].empty()) refuse("nothing");
    ++next_;
  }
  [[noreturn]] void refuse(std::string_view expected) const {
    throw kg::Error(
        fmt::format("{}: {} is \"{}\", expected {}", place_, names_[next_], fields_[next_], expected));
  }
  const std::string& place() const { return place_; }

 private:
  std::string place_;
  std::vector<std::string> names_, fields_;
  std::size_t next_ = 0;
};

std::vector<CsvRow> read_csv(const std::filesystem::path& path, std::string_view header) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw kg::Error(path.string() + ": cannot be read: " + std::strerror(errno));
  std::string text;
  for (char block[4096]; stream.read(block, sizeof block), stream.gcount() > 0;)
    text.append(block, static_cast<std::size_t>(stream.gcount()));
  if (stream.bad()) throw kg::Error(path.string() + ": cannot be read: " + std::strerror(errno));
  const std::vector<std::string> lines = split(text, '\n');
  if (lines[0] != header)
    throw kg::Error(fmt::format("{}, line 1: \"{}\", expected \"{}\"", path.string(), lines[0], header));
  if (!lines.back().empty())
    throw kg::Error(fmt::format("{}, line {}: the file ends within the line", path.string(), lines.size()));
  std::vector<CsvRow> rows;
  for (std::size_t i = 1; i + 1 < lines.size(); ++i)
    rows.emplace_back(fmt::format("{}, line {}", path.string(), i + 1), header, lines[i]);
  return rows;
}

std::string figures_csv(const std::optional<RunFigures>& figures) {
  if (!figures) return ",,,,";
  return fmt::format("{},{},{},{},{}", figures->last, figures->last_five_mean, figures->last_five_min,
                     figures->best, figures->seconds_per_epoch);
}

std::optional<RunFigures> read_figures(CsvRow& row, bool failed) {
  if (failed) {
    for (int i = 0; i < 5; ++i) row.skip_empty();
    return std::nullopt;
  }
  // Braces are evaluated from left to right.
  return RunFigures{.last = row.number<double>(),
                    .last_five_mean = row.number<double>(),
                    .last_five_min = row.number<double>(),
                    .best = row.number<double>(),
                    .seconds_per_epoch = row.number<double>()};
}

SweepRun read_run(CsvRow& row) {
  SweepRun run{.id = row.text(), .seed = row.number<std::uint64_t>(), .figures = {}, .fingerprint = {}};
  const std::string status = row.text();
  if (status != "ok" && status != "failed")
    throw kg::Error(fmt::format("{}: status is \"{}\", expected ok or failed", row.place(), status));
  run.epochs = row.number<int>();
  run.parameters = row.number<std::int64_t>();
  run.figures = read_figures(row, status == "failed");
  run.fingerprint = row.text();
  return run;
}

RunFigures mean_of(std::span<const RunFigures> runs) {
  RunFigures all = runs[0];
  for (const RunFigures& run : runs.subspan(1)) {
    all.last += run.last;
    all.last_five_mean += run.last_five_mean;
    all.last_five_min = std::min(all.last_five_min, run.last_five_min);
    all.best = std::max(all.best, run.best);
    all.seconds_per_epoch += run.seconds_per_epoch;
  }
  for (double* sum : {&all.last, &all.last_five_mean, &all.seconds_per_epoch})
    *sum /= static_cast<double>(runs.size());
  return all;
}

SweepSummary summary_of(std::span<const SweepRun> runs, const Recipe& recipe) {
  SweepSummary summary{.id = std::string(recipe.id), .figures = {}, .published = recipe.published};
  std::vector<RunFigures> figures;
  for (const SweepRun& run : runs) {
    if (run.id != recipe.id) continue;
    summary.parameters = run.parameters;
    if (run.figures)
      figures.push_back(*run.figures);
    else
      ++summary.failed;
  }
  summary.runs = static_cast<int>(figures.size());
  if (!figures.empty()) summary.figures = mean_of(figures);
  return summary;
}

/// Empty where there is nothing.
std::string decimals(std::optional<double> value, int count) {
  return value ? fmt::format("{:.{}f}", *value, count) : std::string();
}

std::string all_digits(std::optional<double> value) {
  return value ? fmt::format("{}", *value) : std::string();
}

std::string table_row(const SweepSummary& row) {
  const auto figure = [&](double RunFigures::*which) {
    return row.figures ? std::optional(*row.figures.*which) : std::nullopt;
  };
  const std::string runs =
      row.failed > 0 ? fmt::format("{} + {} failed", row.runs, row.failed) : fmt::format("{}", row.runs);
  const std::optional<double> difference = row.difference();
  return fmt::format(
      "| {:<17} | {:>10} | {:>4} | {:>6} | {:>6} | {:>5} | {:>5} | {:>7} | {:>10} | {:>12} | {:>10} |\n",
      row.id, with_thousands(row.parameters), runs, decimals(figure(&RunFigures::last), 3),
      decimals(figure(&RunFigures::last_five_mean), 3), decimals(figure(&RunFigures::last_five_min), 2),
      decimals(figure(&RunFigures::best), 2), decimals(figure(&RunFigures::seconds_per_epoch), 1),
      decimals(row.published.best, 2), decimals(row.published.last_five_mean, 3),
      difference ? fmt::format("{:+.3f}", *difference) : "");
}

}  // namespace

RunFigures run_figures(std::span<const EpochMetrics> epochs) {
  if (epochs.empty()) throw kg::Error("run_figures: no epochs given, expected at least 1");
  RunFigures figures{.last = epochs.back().test_accuracy,
                     .last_five_min = epochs.back().test_accuracy,
                     .best = epochs.back().test_accuracy};
  const auto last_five = epochs.last(std::min<std::size_t>(5, epochs.size()));
  for (const EpochMetrics& epoch : last_five) {
    figures.last_five_mean += epoch.test_accuracy / static_cast<double>(last_five.size());
    figures.last_five_min = std::min(figures.last_five_min, epoch.test_accuracy);
  }
  for (const EpochMetrics& epoch : epochs) {
    figures.best = std::max(figures.best, epoch.test_accuracy);
    figures.seconds_per_epoch += epoch.seconds / static_cast<double>(epochs.size());
  }
  return figures;
}

std::string results_csv(std::span<const SweepRun> runs) {
  std::string csv = std::string(results_header) + "\n";
  for (const SweepRun& run : runs)
    csv += fmt::format("{},{},{},{},{},{},{}\n", run.id, run.seed, run.figures ? "ok" : "failed", run.epochs,
                       run.parameters, figures_csv(run.figures), run.fingerprint);
  return csv;
}

std::vector<SweepRun> read_results(const std::filesystem::path& path) {
  std::vector<SweepRun> runs;
  if (!std::filesystem::exists(path)) return runs;
  std::set<std::pair<std::string, std::uint64_t>> seen;
  for (CsvRow& row : read_csv(path, results_header)) {
    runs.push_back(read_run(row));
    if (!seen.emplace(runs.back().id, runs.back().seed).second)
      throw kg::Error(fmt::format("{}: {} seed {} is there a second time, expected one row per run",
                                  row.place(), runs.back().id, runs.back().seed));
  }
  return runs;
}

std::vector<EpochMetrics> read_metrics(const std::filesystem::path& path) {
  std::vector<EpochMetrics> epochs;
  for (CsvRow& row : read_csv(path, metrics_header))
    epochs.push_back({.epoch = row.number<int>(),
                      .lr = row.number<double>(),
                      .train_loss = row.number<double>(),
                      .train_accuracy = row.number<double>(),
                      .test_loss = row.number<double>(),
                      .test_accuracy = row.number<double>(),
                      .seconds = row.number<double>()});
  return epochs;
}

std::optional<double> SweepSummary::difference() const {
  if (!figures || !published.last_five_mean) return std::nullopt;
  return figures->last_five_mean - *published.last_five_mean;
}

std::vector<SweepSummary> summarize(std::span<const SweepRun> runs, std::span<const Recipe> recipes) {
  std::vector<SweepSummary> rows;
  for (const Recipe& recipe : recipes)
    if (std::ranges::find(runs, recipe.id, &SweepRun::id) != runs.end())
      rows.push_back(summary_of(runs, recipe));
  return rows;
}

std::string sweep_table(std::span<const SweepSummary> rows, std::string_view tested) {
  std::string table =
      std::string(tested) +
      " accuracies in percent; \"5\" stands for the last five epochs. Over the runs: means, of \"min 5\" "
      "the smallest, of \"best\"\nthe largest. s/epoch: seconds of training. The difference is mean 5 minus "
      "publ. mean 5.\n\n"
      "| id                | parameters | runs |   last | mean 5 | min 5 |  best | s/epoch | publ. best | "
      "publ. mean 5 | difference |\n"
      "| ----------------- | ---------: | ---: | -----: | -----: | ----: | ----: | ------: | ---------: | "
      "-----------: | ---------: |\n";
  for (const SweepSummary& row : rows) table += table_row(row);
  return table;
}

std::string sweep_table_csv(std::span<const SweepSummary> rows) {
  std::string csv = std::string(table_header) + "\n";
  for (const SweepSummary& row : rows)
    csv += fmt::format("{},{},{},{},{},{},{},{}\n", row.id, row.parameters, row.runs, row.failed,
                       figures_csv(row.figures), all_digits(row.published.best),
                       all_digits(row.published.last_five_mean), all_digits(row.difference()));
  return csv;
}

}  // namespace mnist
