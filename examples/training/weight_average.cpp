// SPDX-License-Identifier: MIT
#include "kernelgrad/training/weight_average.h"

#include <algorithm>
#include <string>

#include "kernelgrad/autograd.h"
#include "kernelgrad/error.h"
#include "kernelgrad/ops.h"

namespace kg::training {

WeightAverage::WeightAverage(const nn::Module& network, nn::Module& averaged, double decay)
    : network_(network.state_dict()), averaged_(averaged.state_dict()), decay_(decay) {
  if (!(decay >= 0 && decay < 1))
    throw Error("WeightAverage: decay is " + std::to_string(decay) + ", expected 0 <= decay < 1");
  averaged.load_state_dict(network_);
  for (const nn::NamedTensor& entry : network_) {
    const Tensor& tensor = entry.tensor;
    if (keep_.defined() || !is_floating_point(tensor.dtype())) continue;
    keep_ = Tensor::zeros({}, {.dtype = tensor.dtype(), .device = tensor.device()});
    take_ = keep_.clone();
  }
}

void WeightAverage::set_steps(std::int64_t steps) {
  steps_ = steps;
  const double t = static_cast<double>(steps);
  const double decay = std::clamp((t - 1) / (t + 9), 0.0, decay_);
  if (decay == decay_now_ || !keep_.defined()) return;
  decay_now_ = decay;
  keep_.copy_from(Tensor::from(std::vector{decay}, {}).to(keep_.dtype()));
  take_.copy_from(Tensor::from(std::vector{1 - decay}, {}).to(keep_.dtype()));
}

void WeightAverage::update() {
  const NoGrad no_grad;
  for (std::size_t i = 0; i < network_.size(); ++i) {
    const Tensor& current = network_[i].tensor;
    Tensor& average = averaged_[i].tensor;
    // What is no floating-point number counts the batches.
    average.copy_from(is_floating_point(current.dtype()) ? average * keep_ + current * take_ : current);
  }
}

}  // namespace kg::training
