// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <vector>

#include "data/loader.h"
#include "kernelgrad/device_array.h"
#include "kernelgrad/tensor.h"

namespace mnist {

/// An ImageLoader whose split lies in the memory of Device::cuda(), a byte a pixel, and whose batches are
/// made there, one launch each: the same images in the same order with the same pixels, bit for bit.
///
/// The CPU draws an epoch's order and what happens to each image, and sends both over when the epoch starts.
/// Everything that batch() reads lies at the same place in every epoch: a recorded call (kg::Graph) can be
/// replayed.
class ResidentLoader {
 public:
  /// `split` must outlive the loader. Throws kg::Error where CUDA is not available, and for images that have
  /// more than 24,576 pixels or take more than 3,584 integers to resize (Workspace).
  ResidentLoader(const Split& split, ImageLoaderOptions options);

  /// As Loader's.
  void start_epoch(int epoch);
  int batches() const { return draws_.batches(); }
  int size_of(int index) const { return draws_.size_of(index); }

  /// The epoch's batch number *index, of `size` images, on the device. The index lies in device memory, and
  /// is read when the work runs.
  kg::training::Batch batch(const std::int64_t* index, int size) const;

 private:
  const Split& split_;
  ImageLoaderOptions options_;
  ImageLoader draws_;
  kg::Tensor images_, labels_;  ///< the split
  kg::Tensor levels_;           ///< what the network sees of each value of each channel
  kg::Tensor order_;            ///< of the epoch
  std::vector<PixelOp> planned_;
  kg::DeviceArray<PixelOp> ops_;  ///< planned_, where the kernel reads it
};

}  // namespace mnist
