#pragma once

#include <cstdint>
#include <vector>

#include "augment.h"
#include "dataset.h"
#include "kernelgrad/tensor.h"
#include "models.h"

namespace mnist {

/// Images ready for a network, with their labels.
struct Batch {
  kg::Tensor images;  ///< float32 [n, 1, height, width], normalised; the size is the augmentation's
  kg::Tensor labels;  ///< int64 [n]
};

/// How the images of an epoch are ordered and made.
struct LoaderOptions {
  int batch_size = 128;
  std::uint64_t seed = 0;
  bool shuffle = false;
  Augmentation augmentation = Augmentation();
  Normalization normalization = {};
};

/// Cuts a split into batches; the last may be smaller. The order depends on (seed, epoch), the pixels of an
/// image on (seed, epoch, index of the image) and on nothing else: neither on the batch size nor on the
/// number of threads.
class Loader {
 public:
  /// `split` must outlive the loader. Throws kg::Error if the augmentation leaves the images' size to chance.
  Loader(const Split& split, LoaderOptions options);

  /// Draws the order of an epoch, counted from 1.
  void start_epoch(int epoch);
  int batches() const;
  /// Batch 0 <= index < batches() of the epoch.
  Batch batch(int index) const;
  /// How many images it has.
  int size_of(int index) const;

  /// Height and width of the batches' images.
  const ImageSize& image_size() const { return image_size_; }
  /// The image at each place of the epoch.
  const std::vector<int>& order() const { return order_; }
  /// What the augmentation of an image draws from.
  kg::RandomStream random(int image) const;

 private:
  const Split& split_;
  LoaderOptions options_;
  Normalize normalize_;
  ImageSize image_size_;
  int epoch_ = 0;
  std::vector<int> order_;
};

}  // namespace mnist
