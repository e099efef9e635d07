#include "trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <string>

#include "figures.h"
#include "kernelgrad/kernelgrad.h"
#include "loader.h"
#include "progress.h"

namespace mnist {

namespace {

std::int64_t count_correct(const kg::Tensor& predictions, const kg::Tensor& labels) {
  const std::vector<std::int64_t> predicted = predictions.to_vector<std::int64_t>(),
                                  actual = labels.to_vector<std::int64_t>();
  return std::inner_product(predicted.begin(), predicted.end(), actual.begin(), std::int64_t{0},
                            std::plus<>(), std::equal_to<>());
}

/// Sums over the images of an epoch.
struct Totals {
  double loss = 0;
  std::int64_t correct = 0, images = 0;
};

[[noreturn]] void report_divergence(double loss, const std::string& which) {
  throw kg::Error(fmt::format("the {} is {}: training has diverged; try a lower learning rate", which,
                              std::isnan(loss) ? "NaN" : "infinite"));
}

/// One pass over the training data; less if `stop` is set.
Totals train_epoch(kg::nn::Module& network, Sgd& sgd, Loader& loader, int epoch, const TrainOptions& options,
                   const std::atomic<bool>& stop) {
  loader.start_epoch(epoch);
  network.train();
  EpochProgress progress(loader.batches(),
                         {.mode = options.quiet ? ProgressMode::quiet : ProgressMode::automatic});
  Totals totals;
  for (int index = 0; index < loader.batches() && !stop; ++index) {
    const Batch batch = loader.batch(index);
    const kg::Tensor images = batch.images.to(options.device), labels = batch.labels.to(options.device);
    sgd.zero_grad();
    const kg::Tensor output = network(images);
    const kg::Tensor loss = kg::nll_loss(output, labels);
    const double value = loss.item();
    if (!std::isfinite(value))
      report_divergence(value, fmt::format("loss of epoch {}, batch {}", epoch, index));
    loss.backward();
    sgd.step();
    totals.loss += value * static_cast<double>(labels.numel());
    totals.correct += count_correct(kg::argmax(output), batch.labels);
    totals.images += labels.numel();
    progress.update(
        {.batches_done = index + 1, .loss = value, .correct = totals.correct, .images = totals.images});
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
    const kg::Tensor predictions = kg::argmax(output);
    evaluation.loss += kg::nll_loss(output, batch.labels.to(device), kg::Reduction::sum).item();
    evaluation.correct += count_correct(predictions, batch.labels);
    for (const std::int64_t prediction : predictions.to_vector<std::int64_t>())
      evaluation.predictions.push_back(static_cast<int>(prediction));
  }
  evaluation.loss /= split.count;
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
  Loader loader(data.train, {.batch_size = options.batch_size.value_or(recipe.batch_size),
                             .seed = options.seed,
                             .shuffle = true,
                             .augmentation = recipe.augmentation()});
  TrainResult result;
  Evaluation evaluation;
  const int epochs = options.epochs.value_or(recipe.epochs);
  for (int epoch = 1; epoch <= epochs && !result.interrupted; ++epoch, schedule.step()) {
    if (!options.quiet) fmt::print("{}", epoch_header(epoch));
    std::fflush(stdout);
    const double start = monotonic_seconds();
    const Totals totals = train_epoch(network, sgd, loader, epoch, options, stop);
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
