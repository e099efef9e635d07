// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "report/confusion_matrix.h"
#include "report/metrics.h"

namespace mnist {

/// Throws kg::Error where there is no font to write with: all that follow do so too, but at the end of what
/// may be hours.
void require_font();

/// What the charts of a whole run say beside their curves.
struct CurveTexts {
  std::string_view tested = test_name;  ///< name of the split that the network was tested on
  /// Percent, where a dashed line is drawn, if there is a goal.
  std::optional<double> goal_accuracy = Goal{}.test_accuracy;
};

/// Draws loss and accuracy in four panels and writes them to `path` as PNG: training at the left, each batch
/// and each epoch as a whole, and test at the right, with a dashed line at the goal for the test accuracy.
/// `batches` are those of all the epochs, in order; without any the epochs stand alone. A value that
/// is not finite leaves a gap. Throws kg::Error if there is no epoch or `path` cannot be written.
///
/// The axes of the training panels leave out the worst 2 % of the batches: a run's first few would press all
/// the others against the frame.
void write_curves(const std::filesystem::path& path, std::span<const EpochMetrics> epochs,
                  std::span<const BatchMetrics> batches, const CurveTexts& texts = {});

/// Draws training beside test over the epochs, accuracy in one panel and loss in another, below a heading,
/// and writes them to `path` as PNG. Throws as write_curves() does.
void write_comparison(const std::filesystem::path& path, const std::string& heading,
                      std::span<const EpochMetrics> epochs, const CurveTexts& texts = {});

/// An image and its labels, which are indices of class names.
struct ClassifiedImage {
  std::span<const uint8_t> pixels;  ///< channel after channel (grey, or red, green, blue), row by row
  int predicted = 0, actual = 0;
};

/// How many images a grid shows at most.
inline constexpr int most_images = 24;

struct MisclassifiedImages {
  std::vector<ClassifiedImage> images;  ///< all of them, in data-set order; the first 24 are drawn
  int64_t tested = 0;                   ///< how many images the network was tested on
  int image_width = 28, channels = 1;
  std::span<const std::string_view> class_names;
  std::string_view split = test_name;  ///< which images these are
};

/// Draws the first misclassified images, each under its predicted and true label, below a heading with their
/// number, and writes them to `path` as PNG. Throws kg::Error if an image is not whole rows of `image_width`
/// pixels, a label has no name, more images are misclassified than were tested, or `path` cannot be written.
void write_misclassified(const std::filesystem::path& path, const MisclassifiedImages& misclassified);

struct Predictions {
  std::vector<ClassifiedImage> images;  ///< the first 24 are drawn
  std::string note;                     ///< which they are, for the line below the heading
  int image_width = 28, channels = 1;
  std::span<const std::string_view> class_names;
  std::string_view split = test_name;  ///< as that of MisclassifiedImages
};

/// Draws images as write_misclassified() does, right predictions in green and wrong ones in red.
void write_predictions(const std::filesystem::path& path, const Predictions& predictions);

struct LabelledImage {
  std::span<const uint8_t> pixels;  ///< channel after channel (grey, or red, green, blue), row by row
  int label = 0;
};

struct TrainingSamples {
  std::vector<LabelledImage> images;  ///< the first 24 are drawn
  std::string note;                   ///< as that of Predictions
  int image_width = 28, channels = 1;
  std::span<const std::string_view> class_names;
};

/// Draws images as the network sees them in training, each under its label, and writes them to `path` as PNG.
/// Throws kg::Error if an image is not whole rows of `image_width` pixels, a label has no name, or `path`
/// cannot be written.
void write_training_samples(const std::filesystem::path& path, const TrainingSamples& samples);

/// Draws the matrix with a row per true class and a column per predicted class, the accuracy of each class at
/// the right of its row, and writes it to `path` as PNG. The wrong cells have a colour scale of their own:
/// among 10,000 images a few dozen wrong ones would not show beside the right ones. `split` is the name of
/// what was tested on. Throws kg::Error if `path` cannot be written.
void write_confusion(const std::filesystem::path& path, const ConfusionMatrix& matrix,
                     std::string_view split = test_name);

/// Draws a bar for the accuracy of each class, with a dashed line at that of all images, and writes them to
/// `path` as PNG. Where every class is right most of the time the axis does not start at 0, and the chart
/// says so. Throws kg::Error if `path` cannot be written.
void write_class_accuracies(const std::filesystem::path& path, const ConfusionMatrix& matrix);

}  // namespace mnist
