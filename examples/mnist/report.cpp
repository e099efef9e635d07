#include "report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <utility>

#include "figures.h"
#include "files.h"
#include "kernelgrad/random.h"
#include "models.h"

namespace mnist {

namespace {

/// What finish(), write_test_report() and write_augmented() write.
constexpr const char* files_of_the_end[] = {"curves.png",      "comparison.png", "per_class.csv",
                                            "per_class.png",   "confusion.png",  "misclassified.png",
                                            "predictions.png", "augmented.png"};

std::string best_line(std::string_view name, std::span<const EpochMetrics> epochs,
                      double EpochMetrics::*value) {
  const auto best = std::max_element(epochs.begin(), epochs.end(),
                                     [value](const auto& a, const auto& b) { return a.*value < b.*value; });
  return fmt::format("Best {} Accuracy: {:.2f}% (epoch {})\n", name, (*best).*value, best->epoch);
}

std::string results_text(std::span<const EpochMetrics> epochs, std::int64_t parameters,
                         std::string_view tested) {
  return fmt::format("Parameters: {}\n", with_thousands(parameters)) +
         best_line("Train", epochs, &EpochMetrics::train_accuracy) +
         best_line(capitalized(tested), epochs, &EpochMetrics::test_accuracy);
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
                     .class_names = class_names(dataset),
                     .split = split.name};
  int correct = 0;
  for (const int index : random_choice(split.count, kMostImages, seed)) {
    chosen.images.push_back(classified(split, predictions, index));
    correct += chosen.images.back().predicted == chosen.images.back().actual;
  }
  chosen.note = fmt::format("{} of {} drawn at random (seed {}), {} of them right.", chosen.images.size(),
                            with_thousands(split.count), seed, correct);
  return chosen;
}

/// Normalize's inverse, rounded to grey levels; what lies outside of them is black or white.
std::vector<std::uint8_t> grey_levels(std::span<const float> normalised) {
  std::vector<std::uint8_t> greys;
  greys.reserve(normalised.size());
  for (const float value : normalised)
    greys.push_back(static_cast<std::uint8_t>(
        std::clamp(std::round(255 * (value * pixel_std + pixel_mean)), 0.0f, 255.0f)));
  return greys;
}

}  // namespace

Report::Report(ReportOptions options) : options_(std::move(options)), log_(options_.heading) {
  make_folder(options_.out);
}

void Report::print(const std::string& text) {
  record(text);
  if (options_.quiet) return;
  fmt::print("{}", text);
  std::fflush(stdout);
}

void Report::record(const std::string& text) { log_ += text; }

void Report::add_epoch(const EpochMetrics& epoch, std::span<const BatchTotals> batches) {
  // Beside the tables of this run those of an earlier one would be taken for its own.
  if (epochs_.empty())
    for (const char* name : files_of_the_end) remove_file(options_.out / name);
  epochs_.push_back(epoch);
  for (const BatchMetrics& batch : batch_metrics(epoch.epoch, batches)) batches_.push_back(batch);
  write_text(options_.out / "metrics.csv", metrics_csv(epochs_));
  write_text(options_.out / "batches.csv", batches_csv(batches_));
  write_log();
}

void Report::finish(std::int64_t parameters, const ConfusionMatrix& last_test, const std::string& last_line) {
  print(results_text(epochs_, parameters, options_.tested) + "\n" +
        class_accuracy_lines(last_test, options_.dataset) + "\n");
  record(last_line + "\n");
  write_log();
  const CurveTexts texts{.tested = options_.tested};
  write_curves(options_.out / "curves.png", epochs_, batches_, texts);
  write_comparison(options_.out / "comparison.png",
                   fmt::format("{}: training and {}", options_.model, options_.tested), epochs_, texts);
}

void Report::write_log() const { write_text(options_.out / "train.log", log_); }

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

void write_augmented(const std::filesystem::path& path, const Split& split, LoaderOptions options,
                     DatasetName dataset) {
  options.batch_size = kMostImages;
  const std::uint64_t seed = options.seed;
  Loader loader(split, std::move(options));
  loader.start_epoch(1);
  const Batch batch = loader.batch(0);
  const std::int64_t height = batch.images.size(2), width = batch.images.size(3);
  const std::vector<std::uint8_t> greys = grey_levels(batch.images.span<float>());
  const auto labels = batch.labels.span<std::int64_t>();
  TrainingSamples samples{
      .images = {}, .note = {}, .image_width = static_cast<int>(width), .class_names = class_names(dataset)};
  const auto pixels = static_cast<std::size_t>(height * width);
  for (std::size_t i = 0; i < labels.size(); ++i)
    samples.images.push_back(
        {.pixels = std::span(greys).subspan(i * pixels, pixels), .label = static_cast<int>(labels[i])});
  samples.note =
      fmt::format("The first {} of epoch 1, shuffled and augmented (seed {}).", labels.size(), seed);
  write_training_samples(path, samples);
}

}  // namespace mnist
