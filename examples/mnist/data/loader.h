#pragma once

#include <cstdint>

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
  Normalization normalization = {};
};

/// Batches of a split's images, float32 [n, 1, height, width], normalised; the size is the augmentation's.
/// The pixels of an image depend on (seed, epoch, index of the image) and on nothing else: neither on the
/// batch size nor on the number of threads.
class ImageLoader : public kg::training::Loader {
 public:
  /// `split` must outlive the loader. Throws kg::Error if the augmentation leaves the images' size to chance.
  ImageLoader(const Split& split, ImageLoaderOptions options);

  kg::training::Batch batch(int index) const override;

  /// Height and width of the batches' images.
  const ImageSize& image_size() const { return image_size_; }
  /// What the augmentation of an image draws from.
  kg::RandomStream random(int image) const;

 private:
  const Split& split_;
  Augmentation augmentation_;
  Normalize normalize_;
  ImageSize image_size_;
};

}  // namespace mnist
