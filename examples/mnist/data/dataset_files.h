// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>

#include "data/packed_file.h"

namespace mnist {

/// The files of a data set as MNIST has them.
struct DatasetFiles {
  PackedFile train_images, train_labels, test_images, test_labels;
};

/// Whether there is anything at a place, as find_dataset() takes it. It looks at names only.
bool may_hold_dataset(const std::filesystem::path& place);

/// Finds the four files of a data set in a folder and the folders in it, four levels deep, and in zip
/// archives there. What a file holds follows from its content: IDX data of unsigned bytes, plain or gzipped,
/// with three sizes are images, with one size labels (QMNIST's labels, eight int32 each, too). What is for
/// training and what for testing follows from words that begin with "train", "test" or "t10k" in its name or
/// else in its folder's; where no name says, the larger of two pairs is for training.
///
/// `place` is a folder, a zip archive, or FOLDER/BEGINNING for files whose names begin so, as with
/// torchvision's EMNIST: raw/emnist-digits. Of several sets that of the outermost folder is taken, of several
/// files for the same part the outermost, a plain one before a gzipped and that before a zipped one.
///
/// Throws kg::Error when a part is missing, or two are equally good: it lists what is there, and what it is.
DatasetFiles find_dataset(const std::filesystem::path& place);

}  // namespace mnist
