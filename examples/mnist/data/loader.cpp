// SPDX-License-Identifier: MIT
#include "data/loader.h"

#include <fmt/format.h>

#include <utility>

#include "kernelgrad/device.h"
#include "kernelgrad/error.h"
#include "kernelgrad/random.h"

namespace mnist {

namespace {

std::vector<Normalize> normalize_of(const Split& split, const std::vector<Normalization>& given) {
  const std::vector<Normalization>& channels = given.empty() ? split.normalization : given;
  if (channels.size() != static_cast<std::size_t>(split.channels))
    throw kg::Error(fmt::format("loader: mean and std are given for {} channels, expected {}",
                                channels.size(), split.channels));
  std::vector<Normalize> normalize;
  for (const auto& [mean, std] : channels) normalize.emplace_back(mean, std);
  return normalize;
}

}  // namespace

ImageLoader::ImageLoader(const Split& split, ImageLoaderOptions options)
    : Loader(split.count,
             {.batch_size = options.batch_size, .seed = options.seed, .shuffle = options.shuffle}),
      split_(split),
      augmentation_(std::move(options.augmentation)),
      normalize_(normalize_of(split, options.normalization)),
      image_size_(augmentation_.output_size({split.height, split.width})) {
  if (split.channels > 1 && !augmentation_.takes_colour())
    throw kg::Error(fmt::format(
        "loader: ColorJitter's contrast, saturation and hue are for grey images, and these have {} channels",
        split.channels));
}

kg::RandomStream ImageLoader::random(int image) const {
  return {seed(), kg::RandomPurpose::augmentation, static_cast<std::uint32_t>(epoch()),
          static_cast<std::uint32_t>(image)};
}

kg::training::Batch ImageLoader::batch(int index) const {
  const std::span<const int> samples = samples_of(index);
  const auto count = static_cast<std::int64_t>(samples.size());
  const std::int64_t pixels = std::int64_t{image_size_.height} * image_size_.width;
  kg::training::Batch batch{
      .inputs = kg::Tensor::empty({count, split_.channels, image_size_.height, image_size_.width}),
      .labels = kg::Tensor::empty({count}, {.dtype = kg::DType::int64})};
  float* images = batch.inputs.data<float>();
  std::int64_t* labels = batch.labels.data<std::int64_t>();
  const auto plane = static_cast<std::size_t>(split_.height) * static_cast<std::size_t>(split_.width);
  kg::parallel_for(count, [&](std::int64_t i) {
    thread_local Image image, scratch;
    thread_local std::vector<PixelOp> ops;
    const int sample = samples[static_cast<std::size_t>(i)];
    kg::RandomStream draws = random(sample);
    ops.resize(static_cast<std::size_t>(augmentation_.op_count()));
    augmentation_.plan({split_.height, split_.width}, draws, ops.data());
    // The same happens to every channel.
    for (int channel = 0; channel < split_.channels; ++channel) {
      const auto c = static_cast<std::size_t>(channel);
      image.assign(split_.image(sample).subspan(c * plane, plane), split_.height, split_.width);
      augmentation_.carry_out(ops, image, scratch, normalize_[c],
                              images + (i * split_.channels + channel) * pixels);
    }
    labels[i] = split_.labels[static_cast<std::size_t>(sample)];
  });
  return batch;
}

}  // namespace mnist
