#include "trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernelgrad/kernelgrad.h"
#include "loader.h"
#include "progress.h"
#include "report.h"
#include "training_steps.h"

namespace mnist {

namespace {

[[noreturn]] void report_divergence(double loss, const std::string& which) {
  throw kg::Error(fmt::format("the {} is {}: training has diverged; try a lower learning rate", which,
                              std::isnan(loss) ? "NaN" : "infinite"));
}

LoaderOptions loader_options(const Recipe& recipe, const TrainOptions& options) {
  return {.batch_size = options.batch_size.value_or(recipe.batch_size),
          .seed = options.seed,
          .shuffle = true,
          .augmentation = recipe.augmentation()};
}

std::unique_ptr<TrainingSteps> training_steps(const Learner& learner, const Split& split,
                                              const LoaderOptions& loader, const TrainOptions& options) {
  return options.device.is_cuda() ? steps_on_cuda(learner, split, loader, options.graph)
                                  : steps_on_cpu(learner, split, loader);
}

/// One pass over the training data; less if `stop` is set.
EpochTotals train_epoch(kg::nn::Module& network, TrainingSteps& steps, Scheduler& scheduler, int epoch,
                        const TrainOptions& options, Report& report, const std::atomic<bool>& stop) {
  network.train();
  steps.start_epoch(epoch);
  const int batches = steps.batches();
  EpochProgress progress(batches, {.mode = options.quiet ? ProgressMode::quiet : ProgressMode::automatic});
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
  report.record(progress.finish());
  return totals;
}

void save(const kg::nn::Module& network, const Recipe& recipe, int epoch, const TrainOptions& options) {
  kg::save_checkpoint(options.out / "model.safetensors",
                      {.tensors = network.state_dict(),
                       .metadata = {{"format", "pt"},
                                    {"model", std::string(recipe.id)},
                                    {"epoch", std::to_string(epoch)},
                                    {"seed", std::to_string(options.seed)}}});
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
  std::optional<WeightAverage> average;
};

Sgd sgd_of(const Recipe& recipe, const TrainOptions& options, std::vector<kg::Tensor> parameters) {
  SgdOptions sgd = recipe.sgd;
  sgd.learning_rate = options.learning_rate.value_or(sgd.learning_rate);
  return Sgd(std::move(parameters), sgd);
}

std::string last_line(const TrainResult& result, std::int64_t parameters, std::string_view tested) {
  const auto epochs = static_cast<std::int64_t>(result.epochs.size());
  if (result.interrupted && epochs == 0) return "interrupted before the first epoch was finished";
  if (result.interrupted) return "interrupted after " + count_of(epochs, "whole epoch", "whole epochs");
  // What a recipe was chosen by cannot judge it.
  if (tested != test_name)
    return fmt::format("Goal not judged: it is one for the test images, not for {} images.", tested);
  return judge_goal(result.epochs, parameters).line;
}

}  // namespace

Evaluation evaluate(kg::nn::Module& network, const Split& split, kg::Device device) {
  const kg::NoGrad no_grad;
  const bool was_training = network.is_training();
  network.eval();
  const Loader loader(split, {.batch_size = 250});
  Evaluation evaluation;
  for (int index = 0; index < loader.batches(); ++index) {
    const Batch batch = loader.batch(index);
    const kg::Tensor output = network(batch.images.to(device));
    evaluation.loss += kg::nll_loss(output, batch.labels.to(device), kg::Reduction::sum).item();
    for (const std::int64_t prediction : kg::argmax(output).to_vector<std::int64_t>())
      evaluation.predictions.push_back(static_cast<int>(prediction));
  }
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
  Report report({.out = options.out,
                 .model = std::string(recipe.id),
                 .dataset = options.dataset,
                 .tested = data.test.name,
                 .heading = options.heading,
                 .quiet = options.quiet});
  kg::manual_seed(options.seed);
  Networks networks(recipe, options.device);
  Sgd sgd = sgd_of(recipe, options, networks.trained.parameters());
  const auto steps = training_steps({.network = networks.trained,
                                     .sgd = sgd,
                                     .label_smoothing = recipe.label_smoothing,
                                     .average = networks.average ? &*networks.average : nullptr},
                                    data.train, loader_options(recipe, options), options);
  TrainResult result;
  Evaluation evaluation;
  const int epochs = options.epochs.value_or(recipe.epochs);
  const auto scheduler = make_scheduler(recipe.schedule, sgd, std::int64_t{epochs} * steps->batches());
  for (int epoch = 1; epoch <= epochs && !result.interrupted; ++epoch) {
    const double learning_rate = sgd.learning_rate();
    if (epoch > 1 && learning_rate != result.epochs.back().lr)
      report.print(learning_rate_line(learning_rate));
    report.print(epoch_header(epoch));
    const double start = monotonic_seconds();
    const EpochTotals totals =
        train_epoch(networks.trained, *steps, *scheduler, epoch, options, report, stop);
    const double seconds = monotonic_seconds() - start;
    if (totals.images < data.train.count) {
      result.interrupted = true;
      report.print("\n");
      break;
    }
    evaluation = evaluate(networks.tested(), data.test, options.device);
    if (!std::isfinite(evaluation.loss))
      report_divergence(evaluation.loss, fmt::format("{} loss after epoch {}", data.test.name, epoch));
    report.print(test_line(data.test.name, evaluation.loss, evaluation.correct, data.test.count));
    result.epochs.push_back({.epoch = epoch,
                             .lr = learning_rate,
                             .train_loss = totals.loss / static_cast<double>(totals.images),
                             .train_accuracy = percent(totals.correct, totals.images),
                             .test_loss = evaluation.loss,
                             .test_accuracy = percent(evaluation.correct, data.test.count),
                             .seconds = seconds});
    report.add_epoch(result.epochs.back(), steps->batch_totals());
    save(networks.tested(), recipe, epoch, options);
    scheduler->after_epoch(evaluation.loss);
  }
  const std::int64_t parameters = networks.trained.parameter_count();
  result.last_line = last_line(result, parameters, data.test.name);
  if (result.epochs.empty()) return result;
  report.finish(parameters, confusion_of(data.test, evaluation.predictions, options.dataset),
                result.last_line);
  write_test_report(options.out, data.test, evaluation.predictions, options.dataset, options.seed);
  write_augmented(options.out / "augmented.png", data.train, loader_options(recipe, options),
                  options.dataset);
  return result;
}

}  // namespace mnist
