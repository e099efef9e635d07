// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <algorithm>

#include "data/dataset.h"
#include "data/packed_file.h"
#include "kernelgrad/error.h"

namespace mnist {

namespace {

constexpr int most_images = 1'000'000;

[[noreturn]] void fail(const PackedFile& file, const std::string& what) {
  throw kg::Error(fmt::format("dataset: {}: {}", file.name(), what));
}

/// Appends the images of a file: a byte for the label, then the values.
void read_batch(const DatasetDescription& description, const PackedFile& file, Split& split) {
  const auto values = static_cast<std::size_t>(description.channels * description.height * description.width);
  const auto classes = description.class_names.size();
  const auto bytes = open_unpacked(file);
  std::vector<std::uint8_t> image(1 + values);
  while (const std::size_t got = bytes->read(image)) {
    if (got != image.size())
      fail(file, fmt::format(
                     "ends within an image: the last has {} bytes, expected {}, a label and {}x{}x{} values",
                     got, image.size(), description.channels, description.height, description.width));
    if (image[0] >= classes)
      fail(file, fmt::format("label {} is {}, expected 0 to {}", split.count, image[0], classes - 1));
    if (split.count == most_images)
      fail(file, fmt::format("more than {} images, expected fewer", most_images));
    split.labels.push_back(image[0]);
    split.images.insert(split.images.end(), image.begin() + 1, image.end());
    ++split.count;
  }
}

/// The files of a folder whose names begin and end so, in order.
std::vector<PackedFile> files_of(const std::filesystem::path& folder, std::string_view beginning) {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(beginning) && (name.ends_with(".bin") || name.ends_with(".bin.gz")))
      found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return {found.begin(), found.end()};
}

Split read_split(const DatasetDescription& description, const std::filesystem::path& folder,
                 std::string_view beginning, std::string_view name) {
  Split split{.images = {},
              .labels = {},
              .count = 0,
              .channels = description.channels,
              .height = description.height,
              .width = description.width,
              .name = name};
  for (const PackedFile& file : files_of(folder, beginning)) read_batch(description, file, split);
  if (split.count == 0)
    throw kg::Error(fmt::format("dataset: {}: no {} images, expected files {}*.bin there, plain or gzipped",
                                kg::printable(folder.string()), name, beginning));
  return split;
}

}  // namespace

Dataset read_cifar_dataset(const DatasetDescription& description, const std::filesystem::path& place,
                           const DatasetOptions& options) {
  if (options.transposed) throw kg::Error(fmt::format("dataset: {} is never transposed", description.id));
  const std::filesystem::path inside = place / "cifar-10-batches-bin";
  const std::filesystem::path& folder = std::filesystem::is_directory(inside) ? inside : place;
  return {.train = read_split(description, folder, "data_batch_", training_name),
          .test = read_split(description, folder, "test_batch", test_name)};
}

}  // namespace mnist
