#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnist {

/// The data sets that come as MNIST's four files.
enum class DatasetName { mnist, fashion_mnist };

/// What it is called in options and checkpoints: "mnist" or "fashion-mnist".
std::string_view id_of(DatasetName name);

/// What labels 0 to 9 stand for: "0" to "9", or "T-shirt/top" to "Ankle boot".
const std::array<std::string_view, 10>& class_names(DatasetName name);

/// What torchvision calls them in its lists of classes: "0 - zero" to "9 - nine", or as class_names().
const std::array<std::string_view, 10>& torchvision_names(DatasetName name);

inline constexpr std::string_view training_name = "training", test_name = "test",
                                  validation_name = "validation";

/// Grey images with their labels.
struct Split {
  std::vector<std::uint8_t> images;  ///< [count, height, width], 0 is background
  std::vector<std::uint8_t> labels;  ///< [count], each in 0..9
  int count = 0;
  int height = 0;
  int width = 0;
  std::string_view name = test_name;  ///< what reports call it

  /// The pixels of image `index` (0 <= index < count), row by row.
  std::span<const std::uint8_t> image(int index) const {
    const std::size_t size = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
    return std::span(images).subspan(static_cast<std::size_t>(index) * size, size);
  }
};

/// Mean and standard deviation of MNIST's training pixels, scaled to [0, 1]: what every recipe normalises
/// with.
inline constexpr float pixel_mean = 0.1307f, pixel_std = 0.3081f;

/// What pixels are normalised with: (pixel / 255 - mean) / std.
struct Normalization {
  float mean = pixel_mean, std = pixel_std;
};

struct Dataset {
  Split train;
  Split test;
  std::string notice = {};  ///< what a user should know of the files, if anything
};

struct DatasetOptions {
  bool transposed = false;  ///< the files have each image's columns where its rows should be, as EMNIST's do
};

/// Loads a data set from the IDX files that find_dataset() finds.
///
/// Throws kg::Error when find_dataset() or IdxReader does, or when the files do not hold at most a million
/// 28x28 images with one label in 0..9 each. Of files whose header says otherwise the data are not read. Has
/// a notice if the files are called as EMNIST's and are not said to be transposed.
Dataset load_dataset(const std::filesystem::path& place, const DatasetOptions& options = {});

/// The data with the last `images` training images in place of the test images: to choose a recipe by what it
/// has not been trained on, and leave the test images alone. Throws kg::Error unless both have an image.
Dataset with_validation(Dataset data, int images);

}  // namespace mnist
