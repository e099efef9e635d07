// SPDX-License-Identifier: MIT
#include "train/run_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <string_view>
#include <utility>

#include "kernelgrad/error.h"
#include "kernelgrad/io.h"
#include "support/parse_number.h"

namespace mnist {

namespace {

// To be changed with what the file holds.
constexpr std::string_view run_format = "kernelgrad run 1";
constexpr std::string_view identity_prefix = "run.";
/// What the names of all tensors begin with but for the optimizer's, which has names of its own.
constexpr std::string_view not_optimizer[] = {"command", "heading",  "epochs.",   "batches.", "schedule",
                                              "rates",   "trained.", "averaged.", "best."};

/// An epoch's metrics but for its number and its seconds.
constexpr double EpochMetrics::*kept_metrics[] = {&EpochMetrics::lr, &EpochMetrics::train_loss,
                                                  &EpochMetrics::train_accuracy, &EpochMetrics::test_loss,
                                                  &EpochMetrics::test_accuracy};

template <class T>
void add(kg::nn::StateDict& tensors, const char* name, const std::vector<T>& values) {
  tensors.push_back({name, kg::Tensor::from(values, {static_cast<std::int64_t>(values.size())})});
}

void add_epochs(kg::nn::StateDict& tensors, const std::vector<TrainedEpoch>& epochs) {
  std::vector<double> metrics, seconds, loss;
  std::vector<std::int64_t> batches, correct, images;
  for (const TrainedEpoch& epoch : epochs) {
    for (const auto member : kept_metrics) metrics.push_back(epoch.metrics.*member);
    seconds.push_back(epoch.metrics.seconds);
    batches.push_back(static_cast<std::int64_t>(epoch.batches.size()));
    for (const BatchTotals& batch : epoch.batches) {
      loss.push_back(batch.loss);
      correct.push_back(batch.correct);
      images.push_back(batch.images);
    }
  }
  add(tensors, "epochs.metrics", metrics);
  add(tensors, "epochs.seconds", seconds);
  add(tensors, "epochs.batches", batches);
  add(tensors, "batches.loss", loss);
  add(tensors, "batches.correct", correct);
  add(tensors, "batches.images", images);
}

void add_all(kg::nn::StateDict& tensors, const std::string& prefix, const kg::nn::StateDict& entries) {
  for (const kg::nn::NamedTensor& entry : entries) tensors.push_back({prefix + entry.name, entry.tensor});
}

/// Takes a checkpoint apart. What is not as it should be throws.
class Reader {
 public:
  Reader(std::filesystem::path path, kg::Checkpoint checkpoint)
      : path_(std::move(path)), checkpoint_(std::move(checkpoint)) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw kg::Error(path_.string() + ": is no state of a training run: " + what);
  }

  const std::string& text(const std::string& name) const {
    const auto found = checkpoint_.metadata.find(name);
    if (found == checkpoint_.metadata.end()) fail("its metadata lack \"" + name + "\"");
    return found->second;
  }

  template <class T>
  T number(const std::string& name) const {
    const std::string& digits = text(name);
    const std::optional<T> value = parse_number<T>(digits);
    if (!value) fail(fmt::format("\"{}\" is \"{}\", expected a number", name, digits));
    return *value;
  }

  template <class T>
  std::vector<T> values(const std::string& name) const {
    const kg::Tensor tensor = kg::nn::find_tensor(checkpoint_.tensors, name);
    if (!tensor.defined()) fail("it lacks the tensor " + name);
    return tensor.to_vector<T>();
  }

  std::string bytes(const std::string& name) const {
    const auto bytes = values<std::uint8_t>(name);
    return {bytes.begin(), bytes.end()};
  }

  /// Each ends with a zero.
  std::vector<std::string> words(const std::string& name) const {
    std::vector<std::string> words;
    std::istringstream stream(bytes(name));
    for (std::string word; std::getline(stream, word, '\0');) words.push_back(word);
    return words;
  }

  /// Those whose names have the prefix, without it.
  kg::nn::StateDict with_prefix(std::string_view prefix) const {
    kg::nn::StateDict found;
    for (const kg::nn::NamedTensor& entry : checkpoint_.tensors)
      if (entry.name.starts_with(prefix)) found.push_back({entry.name.substr(prefix.size()), entry.tensor});
    return found;
  }

  std::map<std::string, std::string> identity() const {
    std::map<std::string, std::string> identity;
    for (const auto& [name, value] : checkpoint_.metadata)
      if (name.starts_with(identity_prefix)) identity[name.substr(identity_prefix.size())] = value;
    return identity;
  }

  /// Those that are nothing else of a run's.
  kg::nn::StateDict optimizer() const {
    kg::nn::StateDict found;
    for (const kg::nn::NamedTensor& entry : checkpoint_.tensors)
      if (std::ranges::none_of(not_optimizer,
                               [&](std::string_view part) { return entry.name.starts_with(part); }))
        found.push_back(entry);
    return found;
  }

  std::vector<TrainedEpoch> epochs() const {
    const auto metrics = values<double>("epochs.metrics"), seconds = values<double>("epochs.seconds"),
               loss = values<double>("batches.loss");
    const auto batches = values<std::int64_t>("epochs.batches"),
               correct = values<std::int64_t>("batches.correct"),
               images = values<std::int64_t>("batches.images");
    if (metrics.size() != seconds.size() * std::size(kept_metrics) || batches.size() != seconds.size() ||
        correct.size() != loss.size() || images.size() != loss.size())
      fail("the tensors of its epochs have different lengths");
    std::vector<TrainedEpoch> epochs;
    std::size_t metric = 0, batch = 0;
    for (std::size_t i = 0; i < seconds.size(); ++i) {
      TrainedEpoch epoch;
      epoch.metrics.epoch = static_cast<int>(i) + 1;
      epoch.metrics.seconds = seconds[i];
      for (const auto member : kept_metrics) epoch.metrics.*member = metrics[metric++];
      if (batches[i] < 1 || static_cast<std::size_t>(batches[i]) > loss.size() - batch)
        fail("an epoch has other batches than are there");
      for (std::int64_t done = 0; done < batches[i]; ++done, ++batch)
        epoch.batches.push_back({.loss = loss[batch], .correct = correct[batch], .images = images[batch]});
      epochs.push_back(std::move(epoch));
    }
    return epochs;
  }

 private:
  std::filesystem::path path_;
  kg::Checkpoint checkpoint_;
};

}  // namespace

void save_state(const std::filesystem::path& folder, const RunState& state) {
  kg::Checkpoint checkpoint;
  auto& metadata = checkpoint.metadata;
  for (const auto& [name, value] : state.identity) metadata[std::string(identity_prefix) + name] = value;
  metadata["format"] = run_format;
  metadata["planned_epochs"] = std::to_string(state.planned_epochs);
  metadata["finished"] = std::to_string(int{state.finished});
  metadata["average_steps"] = std::to_string(state.average_steps);
  metadata["seed"] = std::to_string(state.seed);
  metadata["draws"] = std::to_string(state.draws);
  auto& tensors = checkpoint.tensors;
  // Not among the metadata: they name files, whose names need not be UTF-8.
  std::string command;
  for (const std::string& word : state.command) command += word + '\0';
  add(tensors, "command", std::vector<std::uint8_t>(command.begin(), command.end()));
  add(tensors, "heading", std::vector<std::uint8_t>(state.heading.begin(), state.heading.end()));
  add_epochs(tensors, state.epochs);
  add(tensors, "schedule", state.schedule);
  add(tensors, "rates", std::vector{state.learning_rate, state.momentum});
  add_all(tensors, "trained.", state.trained);
  add_all(tensors, "averaged.", state.averaged);
  add_all(tensors, "best.", state.best);
  add_all(tensors, "", state.optimizer);
  kg::save_checkpoint(folder / state_file, checkpoint);
}

RunState load_state(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / state_file;
  if (!has_state(folder))
    throw kg::Error(
        fmt::format("{}: has no {}, as a training run has that can be resumed", folder.string(), state_file));
  const Reader reader(path, kg::load_checkpoint(path));
  if (reader.text("format") != run_format)
    reader.fail(fmt::format("its format is \"{}\", expected \"{}\"", reader.text("format"), run_format));
  const auto rates = reader.values<double>("rates");
  if (rates.size() != 2) reader.fail("the tensor rates has no 2 elements");
  return {.identity = reader.identity(),
          .planned_epochs = reader.number<int>("planned_epochs"),
          .command = reader.words("command"),
          .heading = reader.bytes("heading"),
          .finished = reader.text("finished") == "1",
          .epochs = reader.epochs(),
          .trained = reader.with_prefix("trained."),
          .averaged = reader.with_prefix("averaged."),
          .average_steps = reader.number<std::int64_t>("average_steps"),
          .best = reader.with_prefix("best."),
          .optimizer = reader.optimizer(),
          .learning_rate = rates[0],
          .momentum = rates[1],
          .schedule = reader.values<double>("schedule"),
          .seed = reader.number<std::uint64_t>("seed"),
          .draws = reader.number<std::uint64_t>("draws")};
}

bool has_state(const std::filesystem::path& folder) { return std::filesystem::exists(folder / state_file); }

}  // namespace mnist
