#include "trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <numeric>
#include <string>

#include "figures.h"
#include "kernelgrad/kernelgrad.h"
#include "loader.h"
#include "progress.h"
#include "training_steps.h"

namespace mnist {

namespace {

[[noreturn]] void report_divergence(double loss, const std::string& which) {
  throw kg::Error(fmt::format("the {} is {}: training has diverged; try a lower learning rate", which,
                              std::isnan(loss) ? "NaN" : "infinite"));
}

std::unique_ptr<TrainingSteps> training_steps(kg::nn::Module& network, Sgd& sgd, const Recipe& recipe,
                                              const Split& split, const TrainOptions& options) {
  const LoaderOptions loader{.batch_size = options.batch_size.value_or(recipe.batch_size),
                             .seed = options.seed,
                             .shuffle = true,
                             .augmentation = recipe.augmentation()};
  return options.device.is_cuda() ? steps_on_cuda(network, sgd, split, loader, options.graph)
                                  : steps_on_cpu(network, sgd, split, loader);
}

/// One pass over the training data; less if `stop` is set.
EpochTotals train_epoch(kg::nn::Module& network, TrainingSteps& steps, int epoch, const TrainOptions& options,
                        const std::atomic<bool>& stop) {
  network.train();
  steps.start_epoch(epoch);
  const int batches = steps.batches();
  EpochProgress progress(batches, {.mode = options.quiet ? ProgressMode::quiet : ProgressMode::automatic});
  EpochTotals totals;
  for (int done = 0; done < batches && !stop;) {
    steps.run(done++);
    if (done < batches && done % steps.steps_between_totals() != 0) continue;
    totals = steps.totals();
    if (totals.diverged_batch >= 0)
      report_divergence(totals.diverged_loss,
                        fmt::format("loss of epoch {}, batch {}", epoch, totals.diverged_batch));
    progress.update(
        {.batches_done = done, .loss = totals.last_loss, .correct = totals.correct, .images = totals.images});
  }
  progress.finish();
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
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) throw kg::Error(options.out.string() + ": cannot make the folder: " + error.message());

  kg::manual_seed(options.seed);
  kg::nn::Sequential network = recipe.network();
  network.to(options.device);
  SgdOptions sgd_options = recipe.sgd;
  sgd_options.learning_rate = options.learning_rate.value_or(recipe.sgd.learning_rate);
  Sgd sgd(network.parameters(), sgd_options);
  StepLr schedule(sgd, recipe.schedule);
  const auto steps = training_steps(network, sgd, recipe, data.train, options);
  TrainResult result;
  Evaluation evaluation;
  const int epochs = options.epochs.value_or(recipe.epochs);
  for (int epoch = 1; epoch <= epochs && !result.interrupted; ++epoch, schedule.step()) {
    if (!options.quiet) fmt::print("{}", epoch_header(epoch));
    std::fflush(stdout);
    const double start = monotonic_seconds();
    const EpochTotals totals = train_epoch(network, *steps, epoch, options, stop);
    const double seconds = monotonic_seconds() - start;
    if (totals.images < data.train.count) {
      result.interrupted = true;
      break;
    }
    evaluation = evaluate(network, data.test, options.device);
    if (!std::isfinite(evaluation.loss))
      report_divergence(evaluation.loss, fmt::format("test loss after epoch {}", epoch));
    if (!options.quiet) fmt::print("{}", test_line(evaluation.loss, evaluation.correct, data.test.count));
    std::fflush(stdout);
    result.epochs.push_back({.epoch = epoch,
                             .lr = sgd.learning_rate(),
                             .train_loss = totals.loss / static_cast<double>(totals.images),
                             .train_accuracy = percent(totals.correct, totals.images),
                             .test_loss = evaluation.loss,
                             .test_accuracy = percent(evaluation.correct, data.test.count),
                             .seconds = seconds});
    write_metrics_csv(options.out / "metrics.csv", result.epochs);
    save(network, recipe, epoch, options);
  }
  result.verdict = judge_goal(result.epochs, network.parameter_count());
  if (!result.epochs.empty()) {
    write_curves(options.out / "curves.png", result.epochs);
    write_test_figures(options.out, data.test, evaluation, options.dataset);
  }
  return result;
}

void write_test_figures(const std::filesystem::path& out, const Split& split, const Evaluation& evaluation,
                        DatasetName dataset) {
  const auto& names = class_names(dataset);
  ConfusionMatrix confusion(names);
  MisclassifiedImages misclassified{
      .images = {}, .tested = split.count, .image_width = split.width, .class_names = names};
  for (int i = 0; i < split.count; ++i) {
    const int predicted = evaluation.predictions[static_cast<std::size_t>(i)];
    const int actual = split.labels[static_cast<std::size_t>(i)];
    confusion.add(actual, predicted);
    if (predicted != actual) misclassified.images.push_back({split.image(i), predicted, actual});
  }
  write_misclassified(out / "misclassified.png", misclassified);
  write_confusion(out / "confusion.png", confusion);
}

}  // namespace mnist
