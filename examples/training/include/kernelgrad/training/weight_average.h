// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/nn.h"

namespace kg::training {

/// The exponential moving average of a network's weights, and of the statistics that its batch norms keep,
/// over the steps of training: what Polyak & Juditsky, 1992, average evenly, with more weight on what is
/// newer. It often does better than the weights of any one step, and hardly moves from epoch to epoch.
///
///     average = d * average + (1 - d) * network       after step t = 1, 2, ...
///     d = min(decay, (t - 1) / (t + 9))
///
/// The first step's weights stand for all before it: the initial ones have no part in the average. From there
/// it looks back over a tenth of the steps so far, as far as the decay goes at most: the rule of TensorFlow's
/// ExponentialMovingAverage, one step later.
class WeightAverage {
 public:
  /// `averaged` is a network like `network`, on the same device, and takes over its values. Both must outlive
  /// this; their floating-point tensors have one dtype. Throws Error unless 0 <= decay < 1.
  WeightAverage(const nn::Module& network, nn::Module& averaged, double decay);

  /// Counts a step and sets its decay, before update(). Not to be recorded.
  void next_step() { set_steps(steps_ + 1); }
  /// To be called after each step. Can be recorded (Graph): replays follow next_step().
  void update();

  /// How many steps the average has seen. Set to another's count, with the averaged network's values, it goes
  /// on as that one.
  std::int64_t steps() const { return steps_; }
  void set_steps(std::int64_t steps);

 private:
  nn::StateDict network_, averaged_;
  double decay_;
  std::int64_t steps_ = 0;
  double decay_now_ = -1;  ///< what keep_ holds
  Tensor keep_, take_;     ///< d and 1 - d, where the network is
};

}  // namespace kg::training
