// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <vector>

#include "data/loader.h"
#include "kernelgrad/nn.h"
#include "kernelgrad/training/optimizer.h"
#include "kernelgrad/training/weight_average.h"
#include "train/epoch_totals.h"

namespace mnist {

/// The steps that an epoch of training consists of: a batch forward and backward through the network, and the
/// update. There is one kind for each device, with the same arithmetic.
///
///     steps->start_epoch(epoch);
///     for (int index = 0; index < steps->batches(); ++index) steps->run(index);
///     steps->totals();
///     steps->batch_totals();
class TrainingSteps {
 public:
  virtual ~TrainingSteps() = default;

  /// Begins an epoch, counted from 1, and its totals.
  virtual void start_epoch(int epoch) = 0;
  /// Batches of an epoch.
  virtual int batches() const = 0;
  /// Trains with the batch: 0, then 1, and so on. Where the device works on its own the step may be under way
  /// when this returns.
  virtual void run(int index) = 0;
  /// What the epoch has come to, once the steps under way are done.
  virtual EpochTotals totals() = 0;
  /// What each of the epoch's batches so far measured, in order, once the steps under way are done.
  virtual std::vector<BatchTotals> batch_totals() = 0;
  /// How many steps should lie between two calls of totals(), lest the device be kept waiting.
  virtual int steps_between_totals() const = 0;
};

/// What is trained, and how a batch changes it.
struct Learner {
  kg::nn::Module& network;  ///< gives log-probabilities
  kg::training::Optimizer& optimizer;
  double label_smoothing = 0;  ///< of 1: how much of each label is spread evenly over all classes
  kg::training::WeightAverage* average = nullptr;  ///< updated after each step, if there is one
};

/// Steps on the CPU, one at a time.
std::unique_ptr<TrainingSteps> steps_on_cpu(const Learner& learner, const Split& split,
                                            const ImageLoaderOptions& options);

/// Steps on Device::cuda(), where the network must be: data, augmentation and totals are there too, and a
/// step is queued without waiting for the one before. With `graph` the steps from the second full batch on
/// replay a recording of one step, a single launch each instead of one for every kernel: same bits.
std::unique_ptr<TrainingSteps> steps_on_cuda(const Learner& learner, const Split& split,
                                             const ImageLoaderOptions& options, bool graph = true);

}  // namespace mnist
