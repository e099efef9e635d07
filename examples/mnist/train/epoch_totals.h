// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace mnist {

/// What an epoch of training has come to so far. A plain value: training on CUDA counts in device memory.
struct EpochTotals {
  double loss = 0;  ///< sum over the images
  std::int64_t correct = 0, images = 0, batches = 0;
  double last_loss = 0;              ///< of the latest batch, mean per image
  std::int64_t diverged_batch = -1;  ///< the first whose loss was not finite, -1 if there is none
  double diverged_loss = 0;          ///< that loss
};

/// What training with one batch measured. A plain value, as EpochTotals is.
struct BatchTotals {
  double loss = 0;  ///< mean per image
  std::int64_t correct = 0, images = 0;

  friend bool operator==(const BatchTotals&, const BatchTotals&) = default;
};

}  // namespace mnist
