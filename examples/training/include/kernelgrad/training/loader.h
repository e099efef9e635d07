// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernelgrad/tensor.h"

namespace kg::training {

/// What a network is trained with in one step.
struct Batch {
  Tensor inputs;  ///< [n, ...]
  Tensor labels;  ///< int64 [n]
};

/// How the samples of an epoch are ordered.
struct LoaderOptions {
  int batch_size = 128;
  std::uint64_t seed = 0;
  bool shuffle = false;
};

/// Goes through a data set in batches; the last of an epoch may be smaller. The order depends on (seed, epoch)
/// and on nothing else. What a sample is, and how its tensors are made, is up to the class that derives from
/// this one:
///
///     Batch batch(int index) const override {
///       for (const int sample : samples_of(index)) ...
///     }
class Loader {
 public:
  /// Throws Error unless batch_size is at least 1.
  Loader(int samples, const LoaderOptions& options);
  virtual ~Loader() = default;

  /// Draws the order of an epoch, counted from 1.
  void start_epoch(int epoch);
  int batches() const;
  /// How many samples batch `index` has.
  int size_of(int index) const;
  /// The sample at each place of the epoch.
  const std::vector<int>& order() const { return order_; }

  /// Batch 0 <= index < batches() of the epoch.
  virtual Batch batch(int index) const = 0;

 protected:
  std::span<const int> samples_of(int index) const;
  std::uint64_t seed() const { return options_.seed; }
  /// The latest that was started; 0 before.
  int epoch() const { return epoch_; }

 private:
  LoaderOptions options_;
  int epoch_ = 0;
  std::vector<int> order_;
};

}  // namespace kg::training
