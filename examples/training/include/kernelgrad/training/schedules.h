// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "kernelgrad/training/optimizer.h"

namespace kg::training {

/// Multiplies the learning rate by gamma after every step_size epochs, as torch.optim.lr_scheduler.StepLR
/// does.
struct StepLrOptions {
  int step_size = 1;  ///< in epochs
  double gamma = 0.1;
};

/// Multiplies the learning rate by `factor` after an epoch if the test loss has not been better than its best
/// so far for more than `patience` epochs, and counts from anew, as
/// torch.optim.lr_scheduler.ReduceLROnPlateau(mode="min", threshold_mode="rel", cooldown=0) does.
struct ReduceLrOnPlateauOptions {
  double factor = 0.1;
  int patience = 10;        ///< in epochs
  double threshold = 1e-4;  ///< better is: loss < (1 - threshold) * best
  double min_lr = 0;
  double epsilon = 1e-8;  ///< a smaller change of the learning rate is not made
};

enum class StepEvery : std::uint8_t { batch, epoch };

/// One cycle of learning rate and momentum, as torch.optim.lr_scheduler.OneCycleLR has it
/// (anneal_strategy="cos", three_phase=False). The optimizer's learning rate is the largest, max_lr. Over the
/// first pct_start * total - 1 steps the rate follows half a cosine from max_lr / div_factor to max_lr and
/// the momentum one from max_momentum to base_momentum; over the others the rate goes on to
/// max_lr / div_factor / final_div_factor and the momentum back to max_momentum.
///
/// The total is the number of batches of the whole training. `step` says after what the schedule moves on:
/// PyTorch wants it to be after every batch, but there is published training in which it was after every
/// epoch, which uses up the first few steps of the warm-up and nothing else.
struct OneCycleLrOptions {
  double pct_start = 0.3;
  double div_factor = 25;
  double final_div_factor = 1e4;
  double base_momentum = 0.85;
  double max_momentum = 0.95;
  StepEvery step = StepEvery::batch;
};

/// How the learning rate moves in the course of training: std::monostate: not at all.
using Schedule = std::variant<std::monostate, StepLrOptions, ReduceLrOnPlateauOptions, OneCycleLrOptions>;

/// Moves an optimizer's learning rate, and its momentum where the schedule has one.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  /// To be called after each batch of training.
  virtual void after_batch() {}
  /// To be called after each epoch, when it has been tested, and after its last batch.
  virtual void after_epoch(double /*test_loss*/) {}
  /// What it has counted so far. Given to a new one of the same training, whose optimizer has the learning
  /// rate and momentum of this one's, it goes on as this one.
  virtual std::vector<double> state() const { return {}; }
  /// Throws Error for what is no state of this kind of schedule.
  void restore(std::span<const double> state);

 protected:
  virtual void take(std::span<const double> /*state*/) {}
};

/// Whether what the schedule does in an epoch depends on how many there are to be.
bool depends_on_length(const Schedule& schedule);

/// The scheduler of an optimizer, which must outlive it, for a training of `batches` batches in all. Sets
/// what the first batch is to be trained with. Throws Error for options that mean nothing, and where
/// OneCycleLr meets an optimizer without momentum.
std::unique_ptr<Scheduler> make_scheduler(const Schedule& schedule, Optimizer& optimizer,
                                          std::int64_t batches);

}  // namespace kg::training
