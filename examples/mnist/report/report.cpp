// SPDX-License-Identifier: MIT
#include "report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <utility>

#include "kernelgrad/random.h"
#include "models/recipe.h"
#include "report/figures.h"
#include "report/progress.h"
#include "support/files.h"

namespace mnist {

namespace {

constexpr const char* names_of_files[] = {
    // after every epoch
    "train.log", "metrics.csv", "batches.csv",
    // at the end
    "curves.png", "comparison.png", "augmented.png",
    // of the last test
    "per_class.csv", "per_class.png", "confusion.png", "misclassified.png", "predictions.png"};

const TrainedEpoch& best_of(std::span<const TrainedEpoch> epochs, double EpochMetrics::*value) {
  return *std::max_element(epochs.begin(), epochs.end(), [value](const auto& a, const auto& b) {
    return a.metrics.*value < b.metrics.*value;
  });
}

std::string best_line(std::string_view name, const EpochMetrics& best, double EpochMetrics::*value) {
  return fmt::format("Best {} Accuracy: {:.2f}% (epoch {})\n", name, best.*value, best.epoch);
}

std::string results_text(std::span<const TrainedEpoch> epochs, std::int64_t parameters,
                         std::string_view tested) {
  const EpochMetrics& train = best_of(epochs, &EpochMetrics::train_accuracy).metrics;
  const EpochMetrics& test = best_of(epochs, &EpochMetrics::test_accuracy).metrics;
  return fmt::format("Parameters: {}\n", with_thousands(parameters)) +
         best_line("Train", train, &EpochMetrics::train_accuracy) +
         best_line(capitalized(tested), test, &EpochMetrics::test_accuracy) +
         fmt::format("best.safetensors: epoch {}, chosen by {} accuracy; expect less of it on other images\n",
                     test.epoch, tested);
}

/// `wanted` different numbers below `count`, or all of them if there are fewer, in random order.
std::vector<int> random_choice(int count, int wanted, std::uint64_t seed) {
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), 0);
  kg::RandomStream random(seed, kg::RandomPurpose::user);
  const std::size_t chosen = std::min(numbers.size(), static_cast<std::size_t>(wanted));
  for (std::size_t i = 0; i < chosen; ++i)
    std::swap(numbers[i], numbers[i + random.below(static_cast<std::uint32_t>(numbers.size() - i))]);
  numbers.resize(chosen);
  return numbers;
}

ClassifiedImage classified(const Split& split, std::span<const int> predictions, int index) {
  const auto i = static_cast<std::size_t>(index);
  return {.pixels = split.image(index), .predicted = predictions[i], .actual = split.labels[i]};
}

MisclassifiedImages misclassified_of(const Split& split, std::span<const int> predictions,
                                     DatasetName dataset) {
  MisclassifiedImages misclassified{.images = {},
                                    .tested = split.count,
                                    .image_width = split.width,
                                    .channels = split.channels,
                                    .class_names = class_names(dataset),
                                    .split = split.name};
  for (int i = 0; i < split.count; ++i) {
    const ClassifiedImage image = classified(split, predictions, i);
    if (image.predicted != image.actual) misclassified.images.push_back(image);
  }
  return misclassified;
}

Predictions random_predictions(const Split& split, std::span<const int> predictions, DatasetName dataset,
                               std::uint64_t seed) {
  Predictions chosen{.images = {},
                     .note = {},
                     .image_width = split.width,
                     .channels = split.channels,
                     .class_names = class_names(dataset),
                     .split = split.name};
  int correct = 0;
  for (const int index : random_choice(split.count, most_images, seed)) {
    chosen.images.push_back(classified(split, predictions, index));
    correct += chosen.images.back().predicted == chosen.images.back().actual;
  }
  chosen.note = fmt::format("{} of {} drawn at random (seed {}), {} of them right.", chosen.images.size(),
                            with_thousands(split.count), seed, correct);
  return chosen;
}

/// Normalize's inverse for images [n, channels, ...], rounded to 8 bits; what lies outside of them is 0 or
/// 255.
std::vector<std::uint8_t> pixels_of(const kg::Tensor& images, const std::vector<Normalization>& channels) {
  const std::span<const float> normalised = images.span<float>();
  const auto plane = static_cast<std::size_t>(images.size(2) * images.size(3));
  std::vector<std::uint8_t> pixels;
  pixels.reserve(normalised.size());
  for (std::size_t i = 0; i < normalised.size(); ++i) {
    const auto& [mean, std] = channels[i / plane % channels.size()];
    pixels.push_back(
        static_cast<std::uint8_t>(std::clamp(std::round(255 * (normalised[i] * std + mean)), 0.0f, 255.0f)));
  }
  return pixels;
}

}  // namespace

Report::Report(ReportOptions options) : options_(std::move(options)), log_(options_.heading) {}

std::string Report::heading_of(int epoch, double learning_rate) const {
  const bool changed =
      epoch > 1 && learning_rate != epochs_.at(static_cast<std::size_t>(epoch) - 2).metrics.lr;
  return (changed ? learning_rate_line(learning_rate) : std::string()) + epoch_header(epoch);
}

std::string Report::test_of(const EpochMetrics& epoch) const {
  const std::int64_t correct = std::llround(epoch.test_accuracy / 100 * options_.tested_images);
  return test_line(options_.tested, epoch.test_loss, correct, options_.tested_images);
}

void Report::show(const std::string& text) const {
  if (options_.quiet) return;
  // An output that is gone, as that of a terminal which was closed, must not cost the files.
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void Report::begin_epoch(int epoch, double learning_rate) const { show(heading_of(epoch, learning_rate)); }

void Report::end_epoch(TrainedEpoch epoch) {
  show(test_of(epoch.metrics));
  add_epoch(std::move(epoch));
}

void Report::cut_epoch(int epoch, double learning_rate, const std::string& progress) {
  show("\n");
  log_ += heading_of(epoch, learning_rate) + progress + "\n";
}

void Report::add_epoch(TrainedEpoch epoch) {
  EpochState state;
  for (const BatchTotals& batch : epoch.batches) {
    state.loss = batch.loss;
    state.correct += batch.correct;
    state.images += batch.images;
    ++state.batches_done;
  }
  const EpochMetrics& metrics = epoch.metrics;
  log_ += heading_of(metrics.epoch, metrics.lr) + progress_line(state, state.batches_done, metrics.seconds) +
          "\n" + test_of(metrics);
  epochs_.push_back(std::move(epoch));
}

const EpochMetrics& Report::best() const { return best_of(epochs_, &EpochMetrics::test_accuracy).metrics; }

std::vector<EpochMetrics> Report::metrics() const {
  std::vector<EpochMetrics> metrics;
  for (const TrainedEpoch& epoch : epochs_) metrics.push_back(epoch.metrics);
  return metrics;
}

std::vector<BatchMetrics> Report::batches() const {
  std::vector<BatchMetrics> batches;
  for (const TrainedEpoch& epoch : epochs_)
    for (const BatchMetrics& batch : batch_metrics(epoch.metrics.epoch, epoch.batches))
      batches.push_back(batch);
  return batches;
}

void Report::write() const {
  write_text(options_.out / "metrics.csv", metrics_csv(metrics()));
  write_text(options_.out / "batches.csv", batches_csv(batches()));
  write_text(options_.out / "train.log", log_);
}

void Report::finish(std::int64_t parameters, const ConfusionMatrix& last_test, const std::string& last_line) {
  const std::string results = results_text(epochs_, parameters, options_.tested) + "\n" +
                              class_accuracy_lines(last_test, options_.dataset) + "\n";
  show(results);
  log_ += results + last_line + "\n";
  write_text(options_.out / "train.log", log_);
  CurveTexts texts{.tested = options_.tested};
  if (!options_.has_goal) texts.goal_accuracy.reset();
  const std::vector<EpochMetrics> epochs = metrics();
  write_curves(options_.out / "curves.png", epochs, batches(), texts);
  write_comparison(options_.out / "comparison.png",
                   fmt::format("{}: training and {}", options_.model, options_.tested), epochs, texts);
}

std::span<const char* const> report_files() { return names_of_files; }
std::span<const char* const> report_files_of_the_end() { return report_files().subspan(3); }
std::span<const char* const> test_report_files() { return report_files().subspan(6); }

ConfusionMatrix confusion_of(const Split& split, std::span<const int> predictions, DatasetName dataset) {
  ConfusionMatrix confusion(class_names(dataset));
  for (std::size_t i = 0; i < predictions.size(); ++i) confusion.add(split.labels[i], predictions[i]);
  return confusion;
}

std::string class_accuracy_lines(const ConfusionMatrix& confusion, DatasetName dataset) {
  std::string lines;
  for (int label = 0; label < confusion.classes(); ++label) {
    const std::int64_t images = confusion.total(label), correct = confusion.count(label, label);
    if (images == 0) continue;
    lines += fmt::format("Accuracy of {} : {:.2f} % ({}/{})\n",
                         torchvision_names(dataset)[static_cast<std::size_t>(label)],
                         percent(correct, images), correct, images);
  }
  return lines;
}

std::string class_accuracy_csv(const ConfusionMatrix& confusion) {
  std::string csv = "class,name,images,correct,accuracy\n";
  for (int label = 0; label < confusion.classes(); ++label) {
    const std::int64_t images = confusion.total(label), correct = confusion.count(label, label);
    const std::string accuracy = images == 0 ? std::string() : fmt::format("{}", percent(correct, images));
    csv += fmt::format("{},{},{},{},{}\n", label, confusion.name(label), images, correct, accuracy);
  }
  return csv;
}

void write_test_report(const std::filesystem::path& out, const Split& split, std::span<const int> predictions,
                       DatasetName dataset, std::uint64_t seed) {
  const ConfusionMatrix confusion = confusion_of(split, predictions, dataset);
  write_text(out / "per_class.csv", class_accuracy_csv(confusion));
  write_class_accuracies(out / "per_class.png", confusion);
  write_confusion(out / "confusion.png", confusion, split.name);
  write_misclassified(out / "misclassified.png", misclassified_of(split, predictions, dataset));
  write_predictions(out / "predictions.png", random_predictions(split, predictions, dataset, seed));
}

void write_augmented(const std::filesystem::path& path, const Split& split, ImageLoaderOptions options,
                     DatasetName dataset) {
  options.batch_size = most_images;
  const std::uint64_t seed = options.seed;
  ImageLoader loader(split, std::move(options));
  loader.start_epoch(1);
  const kg::training::Batch batch = loader.batch(0);
  const std::int64_t height = batch.inputs.size(2), width = batch.inputs.size(3);
  const std::vector<std::uint8_t> values = pixels_of(batch.inputs, split.normalization);
  const auto labels = batch.labels.span<std::int64_t>();
  TrainingSamples samples{.images = {},
                          .note = {},
                          .image_width = static_cast<int>(width),
                          .channels = split.channels,
                          .class_names = class_names(dataset)};
  const auto pixels = static_cast<std::size_t>(split.channels * height * width);
  for (std::size_t i = 0; i < labels.size(); ++i)
    samples.images.push_back(
        {.pixels = std::span(values).subspan(i * pixels, pixels), .label = static_cast<int>(labels[i])});
  samples.note =
      fmt::format("The first {} of epoch 1, shuffled and augmented (seed {}).", labels.size(), seed);
  write_training_samples(path, samples);
}

}  // namespace mnist
