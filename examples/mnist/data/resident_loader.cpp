// SPDX-License-Identifier: MIT
#include "data/resident_loader.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "cuda/kernels.h"
#include "kernelgrad/device.h"
#include "kernelgrad/error.h"

namespace mnist {

namespace {

constexpr kg::Device device = kg::Device::cuda();

const Split& checked(const Split& split, const Augmentation& augmentation) {
  if (!kg::cuda_is_available())
    throw kg::Error("resident loader: cuda is not available: " + kg::cuda_unavailable_reason());
  const Workspace workspace = augmentation.workspace({split.height, split.width});
  if (workspace.pixels > cuda::augment_limit.pixels)
    throw kg::Error(
        fmt::format("resident loader: an image of {}x{} has {} pixels at a time, expected at most {}",
                    split.height, split.width, workspace.pixels, cuda::augment_limit.pixels));
  if (workspace.tap_integers > cuda::augment_limit.tap_integers)
    throw kg::Error(
        fmt::format("resident loader: resizing an image of {}x{} takes {} integers, expected at most {}",
                    split.height, split.width, workspace.tap_integers, cuda::augment_limit.tap_integers));
  return split;
}

kg::Tensor normalised_levels(const std::vector<Normalize>& channels) {
  std::vector<float> levels;
  for (const Normalize& normalize : channels)
    levels.insert(levels.end(), normalize.levels().begin(), normalize.levels().end());
  return kg::Tensor::from(levels, {static_cast<std::int64_t>(levels.size())}, device);
}

}  // namespace

ResidentLoader::ResidentLoader(const Split& split, ImageLoaderOptions options)
    : split_(checked(split, options.augmentation)),
      options_(std::move(options)),
      draws_(split, options_),
      images_(
          kg::Tensor::from(split.images, {split.count, split.channels, split.height, split.width}, device)),
      labels_(kg::Tensor::from(split.labels, {split.count}, device)),
      levels_(normalised_levels(draws_.normalize())),
      order_(kg::Tensor::empty({split.count}, {.dtype = kg::DType::int32, .device = device})),
      planned_(static_cast<std::size_t>(split.count) * options_.augmentation.op_count()),
      ops_(static_cast<std::int64_t>(planned_.size())) {}

void ResidentLoader::start_epoch(int epoch) {
  draws_.start_epoch(epoch);
  const std::vector<int>& order = draws_.order();
  const int ops_per_image = options_.augmentation.op_count();
  kg::parallel_for(split_.count, [&](std::int64_t place) {
    kg::RandomStream random = draws_.random(order[static_cast<std::size_t>(place)]);
    options_.augmentation.plan({split_.height, split_.width}, random,
                               planned_.data() + place * ops_per_image);
  });
  order_.copy_from(kg::Tensor::from(order, order_.shape()));
  ops_.copy_from(planned_);
}

kg::training::Batch ResidentLoader::batch(const std::int64_t* index, int size) const {
  const ImageSize& image_size = draws_.image_size();
  kg::training::Batch batch{
      .inputs =
          kg::Tensor::empty({size, split_.channels, image_size.height, image_size.width}, {.device = device}),
      .labels = kg::Tensor::empty({size}, {.dtype = kg::DType::int64, .device = device})};
  cuda::augment_batch({.images = images_.device_data<std::uint8_t>(),
                       .labels = labels_.device_data<std::uint8_t>(),
                       .channels = split_.channels,
                       .height = split_.height,
                       .width = split_.width,
                       .order = order_.device_data<std::int32_t>(),
                       .ops = ops_.data(),
                       .ops_per_image = options_.augmentation.op_count(),
                       .workspace = options_.augmentation.workspace({split_.height, split_.width}),
                       .output_pixels = image_size.height * image_size.width,
                       .levels = levels_.device_data<float>(),
                       .batch_size = options_.batch_size},
                      index, size, batch.inputs.device_data<float>(),
                      batch.labels.device_data<std::int64_t>());
  return batch;
}

}  // namespace mnist
