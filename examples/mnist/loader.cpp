#include "loader.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernelgrad/device.h"
#include "kernelgrad/error.h"
#include "kernelgrad/random.h"

namespace mnist {

Loader::Loader(const Split& split, LoaderOptions options)
    : split_(split),
      options_(std::move(options)),
      normalize_(options_.normalization.mean, options_.normalization.std),
      image_size_(options_.augmentation.output_size({split.height, split.width})),
      order_(static_cast<std::size_t>(split.count)) {
  if (options_.batch_size < 1)
    throw kg::Error("batch size " + std::to_string(options_.batch_size) + ", expected at least 1");
  std::iota(order_.begin(), order_.end(), 0);
}

void Loader::start_epoch(int epoch) {
  epoch_ = epoch;
  if (!options_.shuffle) return;
  std::iota(order_.begin(), order_.end(), 0);
  kg::RandomStream random(options_.seed, kg::RandomPurpose::shuffle, static_cast<std::uint32_t>(epoch));
  for (std::size_t i = order_.size(); i > 1; --i)
    std::swap(order_[i - 1], order_[random.below(static_cast<std::uint32_t>(i))]);
}

int Loader::batches() const { return (split_.count + options_.batch_size - 1) / options_.batch_size; }

int Loader::size_of(int index) const {
  return std::min(options_.batch_size, split_.count - index * options_.batch_size);
}

kg::RandomStream Loader::random(int image) const {
  return {options_.seed, kg::RandomPurpose::augmentation, static_cast<std::uint32_t>(epoch_),
          static_cast<std::uint32_t>(image)};
}

Batch Loader::batch(int index) const {
  const int first = index * options_.batch_size, count = size_of(index);
  const std::int64_t pixels = std::int64_t{image_size_.height} * image_size_.width;
  Batch batch{.images = kg::Tensor::empty({count, 1, image_size_.height, image_size_.width}),
              .labels = kg::Tensor::empty({count}, {.dtype = kg::DType::int64})};
  float* images = batch.images.data<float>();
  std::int64_t* labels = batch.labels.data<std::int64_t>();
  kg::parallel_for(count, [&](std::int64_t i) {
    thread_local Image image, scratch;
    const int sample = order_[static_cast<std::size_t>(first) + static_cast<std::size_t>(i)];
    kg::RandomStream draws = random(sample);
    image.assign(split_.image(sample), split_.height, split_.width);
    options_.augmentation.apply(image, scratch, draws, normalize_, images + i * pixels);
    labels[i] = split_.labels[static_cast<std::size_t>(sample)];
  });
  return batch;
}

}  // namespace mnist
