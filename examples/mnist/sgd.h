#pragma once

#include <vector>

#include "kernelgrad/tensor.h"

namespace mnist {

struct SgdOptions {
  double learning_rate = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
};

/// Stochastic gradient descent as torch.optim.SGD defines it. For each parameter w with gradient g:
///
///     g += weight_decay * w
///     v  = momentum * v + (1 - dampening) * g     (v = g in the first step)
///     w -= learning_rate * (nesterov ? g + momentum * v : v)
///
/// Without momentum v is g. A parameter without a gradient is left alone.
class Sgd {
 public:
  /// Throws kg::Error for negative options, and for nesterov without momentum or with dampening.
  explicit Sgd(std::vector<kg::Tensor> parameters, const SgdOptions& options = {});

  void zero_grad();
  void step();

  double learning_rate() const { return options_.learning_rate; }
  void set_learning_rate(double learning_rate) { options_.learning_rate = learning_rate; }

 private:
  template <class T>
  void step(kg::Tensor& parameter, kg::Tensor& velocity) const;

  std::vector<kg::Tensor> parameters_;
  std::vector<kg::Tensor> velocities_;  ///< undefined before the parameter's first step
  SgdOptions options_;
};

}  // namespace mnist
