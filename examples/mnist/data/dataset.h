// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mnist {

/// The data sets that there are. descriptions.cpp says of each what it is.
enum class DatasetName { mnist, fashion_mnist, cifar10 };

inline constexpr std::string_view training_name = "training", test_name = "test",
                                  validation_name = "validation";

/// What the pixels of a channel are normalised with: (pixel / 255 - mean) / std. The default is of MNIST's
/// training images.
struct Normalization {
  float mean = 0.1307f, std = 0.3081f;
};

/// Images with their labels.
struct Split {
  std::vector<std::uint8_t> images;  ///< [count, channels, height, width]; of grey ones 0 is background
  std::vector<std::uint8_t> labels;  ///< [count]
  int count = 0;
  int channels = 1;  ///< grey, or red, green and blue
  int height = 0;
  int width = 0;
  std::string_view name = test_name;                                         ///< what reports call it
  std::vector<Normalization> normalization = std::vector<Normalization>(1);  ///< of each channel

  /// The values of image `index` (0 <= index < count), channel after channel, row by row.
  std::span<const std::uint8_t> image(int index) const {
    const std::size_t size = static_cast<std::size_t>(channels) * static_cast<std::size_t>(height) *
                             static_cast<std::size_t>(width);
    return std::span(images).subspan(static_cast<std::size_t>(index) * size, size);
  }
};

struct Dataset {
  Split train;
  Split test;
  std::string notice = {};  ///< what a user should know of the files, if anything
};

struct DatasetOptions {
  bool transposed = false;  ///< the files have each image's columns where its rows should be, as EMNIST's do
  DatasetName name = DatasetName::mnist;
};

/// All that is known of a data set before its files are read.
struct DatasetDescription {
  DatasetName name;
  std::string_view id;  ///< what it is called in options and checkpoints
  int channels, height, width;
  std::vector<std::string_view> class_names;        ///< what each label stands for
  std::vector<std::string_view> torchvision_names;  ///< what torchvision calls them; empty: the same
  std::vector<Normalization> normalization;         ///< of each channel
  std::vector<std::uint32_t> checksums;             ///< of its training and its test images, where known
  /// Reads the files at a place. Throws kg::Error if they do not hold what is described.
  Dataset (*read)(const DatasetDescription&, const std::filesystem::path& place, const DatasetOptions&);
};

/// All data sets, in the order of their names.
std::span<const DatasetDescription> dataset_descriptions();
const DatasetDescription& describe(DatasetName name);
/// The data set with that id, null if there is none.
const DatasetDescription* find_description(std::string_view id);
/// The ids of all: "mnist", "fashion-mnist", ...
std::vector<std::string> dataset_ids();

/// What a data set is called in options and checkpoints.
inline std::string_view id_of(DatasetName name) { return describe(name).id; }
/// What its labels stand for: "0" to "9", or "T-shirt/top" to "Ankle boot".
inline std::span<const std::string_view> class_names(DatasetName name) { return describe(name).class_names; }
/// What torchvision calls them in its lists of classes: "0 - zero" to "9 - nine", or as class_names().
std::span<const std::string_view> torchvision_names(DatasetName name);

/// Loads the data set that the options name. Has a notice if the files are called as EMNIST's and are not
/// said to be transposed.
///
/// Throws kg::Error when its reader does.
Dataset load_dataset(const std::filesystem::path& place, const DatasetOptions& options = {});

/// @name Readers
/// The data are not read of files whose size or header is not as described. At most a million images each.
/// @{
/// The IDX files that find_dataset() finds: as many images as labels, each label one of the classes.
Dataset read_idx_dataset(const DatasetDescription&, const std::filesystem::path& place,
                         const DatasetOptions&);
/// CIFAR-10's binary files, data_batch_*.bin and test_batch.bin in the folder or in cifar-10-batches-bin in
/// it, plain or gzipped: for each image its label, and its values as a Split has them.
Dataset read_cifar_dataset(const DatasetDescription&, const std::filesystem::path& place,
                           const DatasetOptions&);
/// @}

/// The data with the last `images` training images in place of the test images: to choose a recipe by what it
/// has not been trained on, and leave the test images alone. Throws kg::Error unless both have an image.
Dataset with_validation(Dataset data, int images);

}  // namespace mnist
