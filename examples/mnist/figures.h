#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "metrics.h"

namespace mnist {

/// Draws training and test loss and accuracy over the epochs in four panels, with a dashed line at the goal
/// for the test accuracy in percent, and writes them to `path` as PNG. A value that is not finite leaves a
/// gap. Throws kg::Error if there is no epoch or `path` cannot be written.
void write_curves(const std::filesystem::path& path, std::span<const EpochMetrics> epochs,
                  double goal_accuracy = Goal{}.test_accuracy);

/// One image that the network got wrong. The labels are indices of class names.
struct Misclassified {
  std::span<const uint8_t> pixels;  ///< row by row, 0 is black
  int predicted = 0, actual = 0;
};

struct MisclassifiedImages {
  std::vector<Misclassified> images;  ///< all of them, in data-set order; the first 24 are drawn
  int64_t tested = 0;                 ///< how many images the network was tested on
  int image_width = 28;
  std::span<const std::string_view> class_names;
};

/// Draws the first misclassified images, each under its predicted and true label, below a heading with their
/// number, and writes them to `path` as PNG. Throws kg::Error if an image is not whole rows of `image_width`
/// pixels, a label has no name, more images are misclassified than were tested, or `path` cannot be written.
void write_misclassified(const std::filesystem::path& path, const MisclassifiedImages& misclassified);

/// How often images of each true class got each predicted class.
class ConfusionMatrix {
 public:
  /// Throws kg::Error if there are no class names.
  explicit ConfusionMatrix(std::span<const std::string_view> class_names);

  /// Throws kg::Error unless both labels are indices of class names.
  void add(int actual, int predicted, int64_t images = 1);

  int classes() const { return static_cast<int>(class_names_.size()); }
  const std::string& name(int label) const { return class_names_[static_cast<size_t>(label)]; }
  int64_t count(int actual, int predicted) const { return counts_[index(actual, predicted)]; }
  int64_t total(int actual) const;
  int64_t total() const;
  int64_t correct() const;
  /// Of all wrong cells.
  int64_t largest_confusion() const;

 private:
  size_t index(int actual, int predicted) const {
    return static_cast<size_t>(actual) * class_names_.size() + static_cast<size_t>(predicted);
  }

  std::vector<std::string> class_names_;
  std::vector<int64_t> counts_;  // [actual][predicted]
};

/// Draws the matrix with a row per true class and a column per predicted class, the accuracy of each class at
/// the right of its row, and writes it to `path` as PNG. The wrong cells have a colour scale of their own:
/// among 10,000 images a few dozen wrong ones would not show beside the right ones. Throws kg::Error if
/// `path` cannot be written.
void write_confusion(const std::filesystem::path& path, const ConfusionMatrix& matrix);

}  // namespace mnist
