// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "augment/augment.h"
#include "data/dataset.h"
#include "kernelgrad/training/loader.h"

namespace mnist {

/// How the images of an epoch are ordered and made.
struct ImageLoaderOptions {
  int batch_size = 128;
  std::uint64_t seed = 0;
  bool shuffle = false;
  Augmentation augmentation = Augmentation();
  std::vector<Normalization> normalization = {};  ///< of each channel; empty: the split's
};

/// Batches of a split's images, float32 [n, channels, height, width], normalised; the size is the
/// augmentation's. The pixels of an image depend on (seed, epoch, index of the image) and on nothing else:
/// neither on the batch size nor on the number of threads.
class ImageLoader : public kg::training::Loader {
 public:
  /// `split` must outlive the loader. Throws kg::Error if the augmentation leaves the images' size to chance
  /// or is for grey images and these are not, and unless there is a normalisation for each channel.
  ImageLoader(const Split& split, ImageLoaderOptions options);

  kg::training::Batch batch(int index) const override;

  /// Height and width of the batches' images.
  const ImageSize& image_size() const { return image_size_; }
  const std::vector<Normalize>& normalize() const { return normalize_; }
  /// What the augmentation of an image draws from.
  kg::RandomStream random(int image) const;

 private:
  const Split& split_;
  Augmentation augmentation_;
  std::vector<Normalize> normalize_;  ///< a channel each
  ImageSize image_size_;
};

}  // namespace mnist
