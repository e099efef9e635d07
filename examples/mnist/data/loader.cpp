#include "data/loader.h"

#include <utility>

#include "kernelgrad/device.h"
#include "kernelgrad/random.h"

namespace mnist {

ImageLoader::ImageLoader(const Split& split, ImageLoaderOptions options)
    : Loader(split.count,
             {.batch_size = options.batch_size, .seed = options.seed, .shuffle = options.shuffle}),
      split_(split),
      augmentation_(std::move(options.augmentation)),
      normalize_(options.normalization.mean, options.normalization.std),
      image_size_(augmentation_.output_size({split.height, split.width})) {}

kg::RandomStream ImageLoader::random(int image) const {
  return {seed(), kg::RandomPurpose::augmentation, static_cast<std::uint32_t>(epoch()),
          static_cast<std::uint32_t>(image)};
}

kg::training::Batch ImageLoader::batch(int index) const {
  const std::span<const int> samples = samples_of(index);
  const auto count = static_cast<std::int64_t>(samples.size());
  const std::int64_t pixels = std::int64_t{image_size_.height} * image_size_.width;
  kg::training::Batch batch{.inputs = kg::Tensor::empty({count, 1, image_size_.height, image_size_.width}),
                            .labels = kg::Tensor::empty({count}, {.dtype = kg::DType::int64})};
  float* images = batch.inputs.data<float>();
  std::int64_t* labels = batch.labels.data<std::int64_t>();
  kg::parallel_for(count, [&](std::int64_t i) {
    thread_local Image image, scratch;
    const int sample = samples[static_cast<std::size_t>(i)];
    kg::RandomStream draws = random(sample);
    image.assign(split_.image(sample), split_.height, split_.width);
    augmentation_.apply(image, scratch, draws, normalize_, images + i * pixels);
    labels[i] = split_.labels[static_cast<std::size_t>(sample)];
  });
  return batch;
}

}  // namespace mnist
