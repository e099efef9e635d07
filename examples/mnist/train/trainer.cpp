// SPDX-License-Identifier: MIT
#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/loader.h"
#include "kernelgrad/kernelgrad.h"
#include "report/progress.h"
#include "report/report.h"
#include "support/files.h"
#include "train/checkpoint_info.h"
#include "train/fingerprints.h"
#include "train/run_state.h"
#include "train/training_steps.h"

namespace mnist {

namespace {

[[noreturn]] void report_divergence(double loss, const std::string& which) {
  throw kg::Error(fmt::format("the {} is {}: training has diverged; try a lower learning rate", which,
                              std::isnan(loss) ? "NaN" : "infinite"));
}

/// Why what is tested on these images is not held against the goal; nothing where it is.
std::string why_no_goal(const Split& tested) {
  // What a recipe was chosen by cannot judge it.
  if (tested.name != test_name)
    return fmt::format("it is one for the test images, not for {} images.", tested.name);
  if (known_data(tested) != DatasetName::mnist)
    return "it is one for the test images of MNIST, and these are others.";
  return {};
}

ImageLoaderOptions loader_options(const Recipe& recipe, const TrainOptions& options) {
  return {.batch_size = options.batch_size.value_or(recipe.batch_size),
          .seed = options.seed,
          .shuffle = true,
          .augmentation = recipe.augmentation()};
}

std::unique_ptr<TrainingSteps> training_steps(const Learner& learner, const Split& split,
                                              const ImageLoaderOptions& loader, const TrainOptions& options) {
  return options.device.is_cuda() ? steps_on_cuda(learner, split, loader, options.graph)
                                  : steps_on_cpu(learner, split, loader);
}

/// What an epoch came to.
struct EpochRun {
  EpochTotals totals;
  double seconds = 0;
  std::string progress;  ///< the line of it
};

/// One pass over the training data; less if `stop` is set.
EpochRun train_epoch(kg::nn::Module& network, TrainingSteps& steps, kg::training::Scheduler& scheduler,
                     int epoch, bool quiet, const std::atomic<bool>& stop) {
  network.train();
  steps.start_epoch(epoch);
  const int batches = steps.batches();
  EpochProgress progress(batches, {.mode = quiet ? ProgressMode::quiet : ProgressMode::automatic});
  EpochTotals totals;
  for (int done = 0; done < batches && !stop;) {
    steps.run(done++);
    scheduler.after_batch();
    if (done < batches && done % steps.steps_between_totals() != 0) continue;
    totals = steps.totals();
    if (totals.diverged_batch >= 0)
      report_divergence(totals.diverged_loss,
                        fmt::format("loss of epoch {}, batch {}", epoch, totals.diverged_batch));
    progress.update(
        {.batches_done = done, .loss = totals.last_loss, .correct = totals.correct, .images = totals.images});
  }
  std::string line = progress.finish();
  return {.totals = totals, .seconds = progress.seconds(), .progress = std::move(line)};
}

/// The network in training, and the one that is tested and saved: the average of its weights where the recipe
/// asks for that.
struct Networks {
  Networks(const Recipe& recipe, kg::Device device) : trained(recipe.network()) {
    trained.to(device);
    if (recipe.weight_average == 0) return;
    averaged = recipe.network();
    averaged.to(device);
    average.emplace(trained, averaged, recipe.weight_average);
  }
  Networks(const Networks&) = delete;
  Networks& operator=(const Networks&) = delete;

  kg::nn::Sequential& tested() { return average ? averaged : trained; }

  kg::nn::Sequential trained, averaged;
  std::optional<kg::training::WeightAverage> average;
};

kg::training::Sgd sgd_of(const Recipe& recipe, const TrainOptions& options,
                         std::vector<kg::Tensor> parameters) {
  kg::training::SgdOptions sgd = recipe.sgd;
  sgd.learning_rate = options.learning_rate.value_or(sgd.learning_rate);
  return kg::training::Sgd(std::move(parameters), sgd);
}

/// Of their own memory, on the CPU.
kg::nn::StateDict copies(const kg::nn::StateDict& tensors) {
  kg::nn::StateDict copied;
  for (const kg::nn::NamedTensor& entry : tensors)
    copied.push_back({entry.name, entry.tensor.detach().to(kg::Device::cpu()).clone()});
  return copied;
}

std::string epochs_text(std::size_t epochs) {
  return count_of(static_cast<std::int64_t>(epochs), "epoch", "epochs");
}

/// What a run is, in words that an error can have.
std::map<std::string, std::string> identity_of(const Recipe& recipe, const Dataset& data,
                                               const TrainOptions& options) {
  return {{"model", std::string(recipe.id)},
          {"recipe (checksum)", fingerprint(recipe_text(recipe, data.train))},
          {"seed", std::to_string(options.seed)},
          {"batch size", std::to_string(options.batch_size.value_or(recipe.batch_size))},
          {"learning rate", fmt::format("{}", options.learning_rate.value_or(recipe.sgd.learning_rate))},
          {"data set", std::string(id_of(options.dataset))},
          {"training images", fmt::format("{} ({:08x})", data.train.count, checksum(data.train))},
          {std::string(data.test.name) + " images",
           fmt::format("{} ({:08x})", data.test.count, checksum(data.test))},
          {"version", std::string(kg::version())}};
}

/// Throws unless the run is what is asked for now.
void check_identity(const std::filesystem::path& folder, const RunState& state,
                    const std::map<std::string, std::string>& asked) {
  std::string differences;
  const auto differ = [&](const std::string& what, const std::string& was, const std::string& is) {
    differences += fmt::format("{}{} is {}, given {}", differences.empty() ? "" : "; ", what, was, is);
  };
  for (const auto& [what, was] : state.identity)
    if (const auto found = asked.find(what); found == asked.end())
      differ(what, was, "none");
    else if (found->second != was)
      differ(what, was, found->second);
  for (const auto& [what, is] : asked)
    if (!state.identity.contains(what)) differ(what, "none", is);
  if (!differences.empty())
    throw kg::Error(
        fmt::format("{}: cannot be resumed as another run than it is: {}", folder.string(), differences));
}

/// Throws if a run of the recipe that has the state cannot have so many epochs.
void check_epochs(const std::filesystem::path& folder, const RunState& state, const Recipe& recipe,
                  int epochs) {
  if (epochs == state.planned_epochs) return;
  const auto refuse = [&](const std::string& why) {
    throw kg::Error(fmt::format(
        "{}: cannot be resumed as another run than it is: it was to have {}, given {}: {}", folder.string(),
        epochs_text(static_cast<std::size_t>(state.planned_epochs)), epochs, why));
  };
  if (kg::training::depends_on_length(recipe.schedule))
    refuse("its one-cycle schedule is one for the whole run");
  if (static_cast<std::size_t>(epochs) < state.epochs.size())
    refuse(fmt::format("it has {} already", state.epochs.size()));
}

/// The names of all files of a run but for its state.
std::vector<const char*> files_of_run() {
  std::vector<const char*> names = {"model.safetensors", "best.safetensors", "options.ini"};
  names.insert(names.end(), report_files().begin(), report_files().end());
  return names;
}

/// Removes a run from its folder. Without its state first: a run that has one has all that belongs to it.
void remove_run(const std::filesystem::path& folder) {
  remove_file(folder / state_file);
  flush_folder(folder);
  for (const char* name : files_of_run()) remove_file(folder / name);
  flush_folder(folder);
}

/// One run: all that changes in its course.
class Training {
 public:
  Training(const Recipe& recipe, const Dataset& data, const TrainOptions& options,
           std::map<std::string, std::string> identity)
      : recipe_(recipe),
        data_(data),
        options_(options),
        identity_(std::move(identity)),
        epochs_(options.epochs.value_or(recipe.epochs)),
        networks_(recipe, options.device),
        optimizer_(sgd_of(recipe, options, networks_.trained.parameters())),
        steps_(training_steps({.network = networks_.trained,
                               .optimizer = optimizer_,
                               .label_smoothing = recipe.label_smoothing,
                               .average = networks_.average ? &*networks_.average : nullptr},
                              data.train, loader_options(recipe, options), options)),
        scheduler_(kg::training::make_scheduler(recipe.schedule, optimizer_,
                                                std::int64_t{epochs_} * steps_->batches())) {}

  /// Stands where no epoch is trained.
  void begin() { start_report(options_.heading); }
  /// Stands where the state does.
  void restore(const RunState& state);

  /// Writes what follows from where the run stands. What a kill left behind may be of the epoch before, or of
  /// the end that an interrupted run had.
  void write_state_and_files() const {
    save_state(options_.out, state());
    write_files_of_epochs();
  }

  TrainResult run(const std::atomic<bool>& stop) {
    bool interrupted = false;
    for (int epoch = whole_epochs() + 1; epoch <= epochs_ && !interrupted; ++epoch)
      interrupted = !run_epoch(epoch, stop);
    return finish(interrupted);
  }

  /// Without anything to do.
  TrainResult result_of_finished() const {
    TrainResult result = this->result(false);
    result.was_finished = true;
    return result;
  }

 private:
  int whole_epochs() const { return static_cast<int>(report_->epochs().size()); }

  void start_report(const std::string& heading) {
    heading_ = heading;
    report_.emplace(ReportOptions{.out = options_.out,
                                  .model = std::string(recipe_.id),
                                  .dataset = options_.dataset,
                                  .tested = data_.test.name,
                                  .tested_images = data_.test.count,
                                  .has_goal = why_no_goal(data_.test).empty(),
                                  .heading = heading_,
                                  .quiet = options_.quiet});
  }

  bool run_epoch(int epoch, const std::atomic<bool>& stop);
  RunState state(bool finished = false) const;
  void write_files_of_epochs() const;
  void write_models() const;
  void save_model(const char* file, const kg::nn::StateDict& tensors, const EpochMetrics& epoch,
                  const std::string& chosen_by = {}) const;
  TrainResult result(bool interrupted) const;
  TrainResult finish(bool interrupted);

  const Recipe& recipe_;
  const Dataset& data_;
  const TrainOptions& options_;
  std::map<std::string, std::string> identity_;
  int epochs_;
  Networks networks_;
  kg::training::Sgd optimizer_;
  std::unique_ptr<TrainingSteps> steps_;
  std::unique_ptr<kg::training::Scheduler> scheduler_;
  std::string heading_;
  std::optional<Report> report_;
  kg::nn::StateDict best_;                ///< the weights that were tested in the best epoch
  std::optional<Evaluation> evaluation_;  ///< of the last whole epoch
};

/// One epoch, its test and its files. False if `stop` ended it early.
bool Training::run_epoch(int epoch, const std::atomic<bool>& stop) {
  const double learning_rate = optimizer_.learning_rate();
  report_->begin_epoch(epoch, learning_rate);
  const auto [totals, seconds, progress] =
      train_epoch(networks_.trained, *steps_, *scheduler_, epoch, options_.quiet, stop);
  if (totals.images < data_.train.count) {
    report_->cut_epoch(epoch, learning_rate, progress);
    return false;
  }
  evaluation_ = evaluate(networks_.tested(), data_.test, options_.device);
  if (!std::isfinite(evaluation_->loss))
    report_divergence(evaluation_->loss, fmt::format("{} loss after epoch {}", data_.test.name, epoch));
  report_->end_epoch({.metrics = {.epoch = epoch,
                                  .lr = learning_rate,
                                  .train_loss = totals.loss / static_cast<double>(totals.images),
                                  .train_accuracy = percent(totals.correct, totals.images),
                                  .test_loss = evaluation_->loss,
                                  .test_accuracy = percent(evaluation_->correct, data_.test.count),
                                  .seconds = seconds},
                      .batches = steps_->batch_totals()});
  if (report_->best().epoch == epoch) best_ = copies(networks_.tested().state_dict());
  scheduler_->after_epoch(evaluation_->loss);
  save_state(options_.out, state());
  write_models();
  report_->write();
  return true;
}

RunState Training::state(bool finished) const {
  RunState state{.identity = identity_,
                 .planned_epochs = epochs_,
                 .command = options_.command,
                 .heading = heading_,
                 .finished = finished,
                 .epochs = report_->epochs()};
  if (state.epochs.empty()) return state;
  state.trained = networks_.trained.state_dict();
  if (networks_.average) {
    state.averaged = networks_.averaged.state_dict();
    state.average_steps = networks_.average->steps();
  }
  state.best = best_;
  state.optimizer = optimizer_.state();
  state.learning_rate = optimizer_.learning_rate();
  state.momentum = optimizer_.momentum();
  state.schedule = scheduler_->state();
  state.seed = kg::default_generator().seed();
  state.draws = kg::default_generator().draws();
  return state;
}

void Training::restore(const RunState& state) {
  start_report(state.heading);
  if (state.epochs.empty()) return;
  networks_.trained.load_state_dict(state.trained);
  if (networks_.average) {
    networks_.averaged.load_state_dict(state.averaged);
    networks_.average->set_steps(state.average_steps);
  }
  best_ = state.best;
  optimizer_.restore(state.optimizer);
  scheduler_->restore(state.schedule);
  optimizer_.set_learning_rate(state.learning_rate);
  if (state.momentum > 0) optimizer_.set_momentum(state.momentum);
  kg::default_generator().set_state(state.seed, state.draws);
  for (const TrainedEpoch& epoch : state.epochs) report_->add_epoch(epoch);
}

void Training::write_files_of_epochs() const {
  if (!options_.options_text.empty()) write_text(options_.out / "options.ini", options_.options_text);
  for (const char* name : report_files_of_the_end()) remove_file(options_.out / name);
  if (whole_epochs() == 0) return;
  write_models();
  report_->write();
}

void Training::save_model(const char* file, const kg::nn::StateDict& tensors, const EpochMetrics& epoch,
                          const std::string& chosen_by) const {
  kg::Checkpoint checkpoint{.tensors = tensors,
                            .metadata = metadata_of({.recipe = recipe_,
                                                     .dataset = options_.dataset,
                                                     .seed = options_.seed,
                                                     .tested = data_.test,
                                                     .epoch = epoch})};
  if (!chosen_by.empty()) checkpoint.metadata["chosen_by"] = chosen_by;
  kg::save_checkpoint(options_.out / file, checkpoint);
}

void Training::write_models() const {
  const kg::nn::Sequential& tested = networks_.average ? networks_.averaged : networks_.trained;
  save_model("model.safetensors", tested.state_dict(), report_->epochs().back().metrics);
  save_model("best.safetensors", best_, report_->best(), std::string(data_.test.name) + " accuracy");
}

TrainResult Training::result(bool interrupted) const {
  TrainResult result{.epochs = {}, .interrupted = interrupted, .was_finished = false, .last_line = {}};
  for (const TrainedEpoch& epoch : report_->epochs()) result.epochs.push_back(epoch.metrics);
  const auto epochs = static_cast<std::int64_t>(result.epochs.size());
  if (interrupted && epochs == 0)
    result.last_line = "interrupted before the first epoch was finished";
  else if (interrupted)
    result.last_line = "interrupted after " + count_of(epochs, "whole epoch", "whole epochs");
  else if (const std::string reason = why_no_goal(data_.test); !reason.empty())
    result.last_line = "Goal not judged: " + reason;
  else
    result.last_line = judge_goal(result.epochs, networks_.trained.parameter_count()).line;
  return result;
}

TrainResult Training::finish(bool interrupted) {
  TrainResult result = this->result(interrupted);
  if (result.epochs.empty()) return result;
  if (!evaluation_) evaluation_ = evaluate(networks_.tested(), data_.test, options_.device);
  const std::vector<int>& predictions = evaluation_->predictions;
  report_->finish(networks_.trained.parameter_count(),
                  confusion_of(data_.test, predictions, options_.dataset), result.last_line);
  write_test_report(options_.out, data_.test, predictions, options_.dataset, options_.seed);
  write_augmented(options_.out / "augmented.png", data_.train, loader_options(recipe_, options_),
                  options_.dataset);
  if (!interrupted) save_state(options_.out, state(true));
  return result;
}

/// Whether all that a finished run leaves is there.
bool is_complete(const std::filesystem::path& folder) {
  const auto is_there = [&](const char* name) { return std::filesystem::exists(folder / name); };
  return is_there("model.safetensors") && is_there("best.safetensors") &&
         std::ranges::all_of(report_files(), is_there);
}

/// A sentence on the run in a folder, and the ways out for who wants to train there; empty where there is
/// none with a whole epoch.
std::string existing_run(const std::filesystem::path& folder) {
  const std::string train_anew =
      "--overwrite removes it and trains anew, --out DIR or other options train elsewhere";
  if (has_state(folder)) {
    RunState state;
    try {
      state = load_state(folder);
    } catch (const kg::Error& error) {
      return fmt::format("{}; {}", error.what(), train_anew);
    }
    if (state.epochs.empty()) return {};
    const std::string place = folder.string();
    if (state.finished)
      return fmt::format("{}: has a finished run of {}, {:.2f} % after the last; {}", place,
                         epochs_text(state.epochs.size()), state.epochs.back().metrics.test_accuracy,
                         train_anew);
    return fmt::format("{}: has a run with {} of {} epochs; `mnist train --resume {}` goes on with it, {}",
                       place, state.epochs.size(), state.planned_epochs, place, train_anew);
  }
  for (const char* name : files_of_run())
    if (std::filesystem::is_regular_file(folder / name))
      return fmt::format("{}: is there, of a run without {}; {}", (folder / name).string(), state_file,
                         train_anew);
  return {};
}

}  // namespace

Evaluation evaluate(kg::nn::Module& network, const Split& split, kg::Device device,
                    const std::vector<Normalization>& normalization) {
  const kg::NoGrad no_grad;
  const bool was_training = network.is_training();
  network.eval();
  const ImageLoader loader(split, {.batch_size = 256, .normalization = normalization});
  Evaluation evaluation;
  const double start = monotonic_seconds();
  for (int index = 0; index < loader.batches(); ++index) {
    const kg::training::Batch batch = loader.batch(index);
    const kg::Tensor output = network(batch.inputs.to(device));
    evaluation.loss += kg::nll_loss(output, batch.labels.to(device), kg::Reduction::sum).item();
    for (const std::int64_t prediction : kg::argmax(output).to_vector<std::int64_t>())
      evaluation.predictions.push_back(static_cast<int>(prediction));
  }
  evaluation.seconds = monotonic_seconds() - start;
  evaluation.loss /= split.count;
  evaluation.correct =
      std::inner_product(split.labels.begin(), split.labels.end(), evaluation.predictions.begin(),
                         std::int64_t{0}, std::plus<>(), std::equal_to<>());
  network.train(was_training);
  return evaluation;
}

TrainResult train(const Recipe& recipe, const Dataset& data, const TrainOptions& options,
                  const std::atomic<bool>& stop) {
  if (!(recipe.label_smoothing >= 0 && recipe.label_smoothing <= 1))
    throw kg::Error(
        fmt::format("train: label_smoothing is {}, expected a number from 0 to 1", recipe.label_smoothing));
  if (const ImageShape given{data.train.channels, data.train.height, data.train.width}; given != recipe.input)
    throw kg::Error(fmt::format("train: {} takes images of {}x{}x{}, and these are {}x{}x{}", recipe.id,
                                recipe.input.channels, recipe.input.height, recipe.input.width,
                                given.channels, given.height, given.width));
  const FolderLock lock(options.out);
  const int epochs = options.epochs.value_or(recipe.epochs);
  std::optional<RunState> state;
  auto identity = identity_of(recipe, data, options);
  if (options.existing == Existing::resume) {
    state = load_state(options.out);
    check_identity(options.out, *state, identity);
    check_epochs(options.out, *state, recipe, epochs);
  } else if (options.existing == Existing::refuse) {
    if (const std::string refusal = existing_run(options.out); !refusal.empty()) throw kg::Error(refusal);
  }
  kg::manual_seed(options.seed);
  Training training(recipe, data, options, std::move(identity));
  fmt::print("{}", options.heading);
  std::fflush(stdout);
  if (!state) {
    remove_run(options.out);
    training.begin();
  } else {
    training.restore(*state);
    if (state->finished && epochs == state->planned_epochs && is_complete(options.out))
      return training.result_of_finished();
  }
  training.write_state_and_files();
  return training.run(stop);
}

}  // namespace mnist
