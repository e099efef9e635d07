#include "weight_average.h"

#include <string>

#include "kernelgrad/autograd.h"
#include "kernelgrad/error.h"
#include "kernelgrad/ops.h"

namespace mnist {

WeightAverage::WeightAverage(const kg::nn::Module& network, kg::nn::Module& averaged, double decay)
    : network_(network.state_dict()), averaged_(averaged.state_dict()), decay_(decay) {
  if (!(decay >= 0 && decay < 1))
    throw kg::Error("WeightAverage: decay is " + std::to_string(decay) + ", expected 0 <= decay < 1");
  averaged.load_state_dict(network_);
}

void WeightAverage::update() {
  const kg::NoGrad no_grad;
  for (std::size_t i = 0; i < network_.size(); ++i) {
    const kg::Tensor& current = network_[i].tensor;
    kg::Tensor& average = averaged_[i].tensor;
    // What is no floating-point number counts the batches.
    average.copy_from(kg::is_floating_point(current.dtype()) ? average * decay_ + current * (1 - decay_)
                                                             : current);
  }
}

}  // namespace mnist
