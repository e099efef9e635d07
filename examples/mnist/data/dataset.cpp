// SPDX-License-Identifier: MIT
#include "data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "data/dataset_files.h"
#include "data/idx.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr std::int64_t most_images = 1'000'000;

[[noreturn]] void fail(const PackedFile& file, const std::string& what) {
  throw kg::Error(fmt::format("dataset: {}: {}", file.name(), what));
}

void check_sizes(const DatasetDescription& description, const PackedFile& images_file,
                 const IdxReader& images, const PackedFile& labels_file, const IdxReader& labels) {
  const std::int64_t count = images.dims()[0], height = images.dims()[1], width = images.dims()[2];
  if (height != description.height || width != description.width)
    fail(images_file, fmt::format("images are {}x{} pixels, expected {}x{}", height, width,
                                  description.height, description.width));
  if (count == 0) fail(images_file, "holds no images");
  if (count > most_images)
    fail(images_file, fmt::format("holds {} images, expected at most {}", count, most_images));
  if (count != labels.dims()[0])
    throw kg::Error(
        fmt::format("dataset: {} holds {} images but {} holds {} labels, expected one label per image",
                    images_file.name(), count, labels_file.name(), labels.dims()[0]));
}

// Of QMNIST's eight columns of int32 the first is the digit.
std::vector<std::uint8_t> read_labels(const PackedFile& file, IdxReader& reader, std::size_t classes) {
  const std::vector<std::uint8_t> data = reader.read_data();
  const auto count = static_cast<std::size_t>(reader.dims()[0]);
  const std::size_t stride =
      reader.type() == IdxType::int32 ? 4 * static_cast<std::size_t>(reader.dims()[1]) : 1;
  const std::size_t bytes = reader.type() == IdxType::int32 ? 4 : 1;
  std::vector<std::uint8_t> labels(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t label = 0;
    for (std::size_t byte = 0; byte < bytes; ++byte) label = label << 8 | data[i * stride + byte];
    if (label >= classes)
      fail(file, fmt::format("label {} is {}, expected 0 to {}: the networks here tell {} classes apart", i,
                             static_cast<std::int32_t>(label), classes - 1, classes));
    labels[i] = static_cast<std::uint8_t>(label);
  }
  return labels;
}

/// Of square images.
void transpose(Split& split) {
  const auto size = static_cast<std::size_t>(split.height);
  for (std::size_t image = 0; image < split.images.size(); image += size * size)
    for (std::size_t y = 0; y < size; ++y)
      for (std::size_t x = 0; x < y; ++x)
        std::swap(split.images[image + y * size + x], split.images[image + x * size + y]);
}

Split load_split(const DatasetDescription& description, const PackedFile& images_file,
                 const PackedFile& labels_file, std::string_view name, const DatasetOptions& options) {
  IdxReader images(images_file), labels(labels_file);
  check_sizes(description, images_file, images, labels_file, labels);
  Split split{.images = images.read_data(),
              .labels = read_labels(labels_file, labels, description.class_names.size()),
              .count = static_cast<int>(images.dims()[0]),
              .height = description.height,
              .width = description.width,
              .name = name};
  if (options.transposed) transpose(split);
  return split;
}

std::string notice_of(const PackedFile& file, const DatasetOptions& options) {
  const std::string name = file.member.empty() ? file.path.filename().string() : file.member;
  if (options.transposed || name.find("emnist") == std::string::npos) return {};
  return file.name() +
         ": EMNIST's own files have columns where rows should be; if these have, --transposed turns the "
         "images upright";
}

}  // namespace

Dataset read_idx_dataset(const DatasetDescription& description, const std::filesystem::path& place,
                         const DatasetOptions& options) {
  const DatasetFiles files = find_dataset(place);
  return {.train = load_split(description, files.train_images, files.train_labels, training_name, options),
          .test = load_split(description, files.test_images, files.test_labels, test_name, options),
          .notice = notice_of(files.train_images, options)};
}

Dataset load_dataset(const std::filesystem::path& place, const DatasetOptions& options) {
  const DatasetDescription& description = describe(options.name);
  Dataset data = description.read(description, place, options);
  data.train.normalization = data.test.normalization = description.normalization;
  return data;
}

Dataset with_validation(Dataset data, int images) {
  Split& train = data.train;
  if (images < 1 || images >= train.count)
    throw kg::Error(fmt::format("validation: {} images given, expected 1 to {}", images, train.count - 1));
  const int kept = train.count - images;
  const auto first_image = static_cast<std::ptrdiff_t>(train.image(kept).data() - train.images.data());
  data.test = {.images = {train.images.begin() + first_image, train.images.end()},
               .labels = {train.labels.begin() + kept, train.labels.end()},
               .count = images,
               .channels = train.channels,
               .height = train.height,
               .width = train.width,
               .name = validation_name,
               .normalization = train.normalization};
  train.images.resize(static_cast<std::size_t>(first_image));
  train.labels.resize(static_cast<std::size_t>(kept));
  train.count = kept;
  return data;
}

}  // namespace mnist
