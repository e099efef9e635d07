// SPDX-License-Identifier: MIT
#include <memory>

#include "bench.h"
#include "data/loader.h"

namespace {

constexpr int count = 60000, batch_size = 128, side = 28;

/// Noise: no image takes longer or shorter for what it shows.
mnist::Split random_split() {
  mnist::Split split;
  split.count = count;
  split.height = split.width = side;
  kg::RandomStream random(1, kg::RandomPurpose::user);
  split.images.resize(std::size_t{count} * side * side);
  for (std::uint8_t& pixel : split.images) pixel = static_cast<std::uint8_t>(random.bits());
  split.labels.resize(count);
  return split;
}

/// An epoch of batches made on the CPU.
struct Epoch {
  explicit Epoch(const mnist::Augmentation& augmentation)
      : split(random_split()),
        loader(split, {.batch_size = batch_size, .seed = 1, .shuffle = true, .augmentation = augmentation}) {}

  void read() {
    loader.start_epoch(1);
    for (int i = 0; i < loader.batches(); ++i) loader.batch(i);
  }

  mnist::Split split;
  mnist::ImageLoader loader;
};

void add_epoch(const std::string& name, const mnist::Augmentation& augmentation) {
  const bench::Work work{.bytes = std::int64_t{count} * side * side * (1 + std::int64_t{sizeof(float)})};
  bench::add("augment_epoch/" + name, work,
             [augmentation] { return [epoch = std::make_shared<Epoch>(augmentation)] { epoch->read(); }; });
}

const bench::Registrar registrar([] {
  using namespace mnist;
  const RandomAffine affine{.degrees = 20, .translate = {0.1, 0.1}, .scale = {0.9, 1.1}};
  const RandomRotation rotation{.degrees = 7};
  add_epoch("none", Augmentation());
  add_epoch("affine+jitter", Augmentation({affine, ColorJitter{.brightness = 0.1, .contrast = 0.1}}));
  add_epoch("rotation", Augmentation({rotation}));
  add_epoch("rotation+affine", Augmentation({rotation, affine}));
  add_epoch("resized_crop+rotation",
            Augmentation({RandomResizedCrop{.size = side, .scale = {0.8, 1}}, rotation}));
  add_epoch(
      "perhaps_crop+resize+rotation_after",
      Augmentation({RandomApply{.p = 0.1, .transforms = {CenterCrop{.size = 24}}}, Resize{.size = side}},
                   {.after_normalize = RandomRotation{.degrees = 5}}));
});

}  // namespace
