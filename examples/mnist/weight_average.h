#pragma once

#include <vector>

#include "kernelgrad/nn.h"

namespace mnist {

/// The exponential moving average of a network's weights, and of the statistics that its batch norms keep,
/// over the steps of training: what Polyak & Juditsky, 1992, average evenly, with more weight on what is
/// newer. It often does better than the weights of any one step, and hardly moves from epoch to epoch.
///
///     average = decay * average + (1 - decay) * network       after each step
class WeightAverage {
 public:
  /// `averaged` is a network like `network`, on the same device, and takes over its values. Both must outlive
  /// this. Throws kg::Error unless 0 <= decay < 1.
  WeightAverage(const kg::nn::Module& network, kg::nn::Module& averaged, double decay);

  /// To be called after each step. Can be recorded (kg::Graph).
  void update();

 private:
  kg::nn::StateDict network_, averaged_;
  double decay_;
};

}  // namespace mnist
