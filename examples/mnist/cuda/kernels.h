// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "augment/pixel_op.h"
#include "train/epoch_totals.h"

/// The trainer's own CUDA kernels: what each computes, without a word of CUDA. All pointers are to device
/// memory. Whatever differs from step to step is read from there when a kernel runs, so that a recorded step
/// can be replayed.
namespace mnist::cuda {

/// A data set and what an epoch does with it.
struct AugmentSource {
  const std::uint8_t* images;  ///< [all, channels, height, width]
  const std::uint8_t* labels;  ///< [all]
  int channels, height, width;
  const std::int32_t* order;  ///< [all] the image at each place of the epoch
  const PixelOp* ops;         ///< [all, ops_per_image] what happens to it
  int ops_per_image;
  Workspace workspace;  ///< of the operations
  int output_pixels;    ///< of each channel of an image that comes of them
  const float* levels;  ///< [channels, 256] what the network sees of each value
  int batch_size;       ///< of every batch but the last
};

/// The largest workspace.
inline constexpr Workspace augment_limit{.pixels = 24 * 1024, .tap_integers = 3584};

/// Batch number *batch of the epoch, which has `count` images: images [count, channels, output_pixels] and
/// their labels.
void augment_batch(const AugmentSource& source, const std::int64_t* batch, int count, float* images,
                   std::int64_t* labels);

/// Adds a batch to the totals: its mean loss, and its `rows` log-probabilities [rows, classes] with labels.
/// The largest log-probability is the prediction, the first among equals, NaN before all. What it measured of
/// the batch alone goes to batches[totals->batches], before that number is counted up.
void metrics_add_batch(std::int64_t rows, std::int64_t classes, const float* log_probabilities,
                       const std::int64_t* labels, const float* loss, EpochTotals* totals,
                       BatchTotals* batches);

}  // namespace mnist::cuda
