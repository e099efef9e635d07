// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include "kernelgrad/training/optimizer.h"

namespace kg::training {

/// Under the names that torch.optim.SGD has for them, but for `lr`.
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
/// Without momentum v is g.
class Sgd : public Optimizer {
 public:
  /// Throws Error for negative options, and for nesterov without momentum or with dampening. Its momentum can
  /// be set if it is positive and has been from the start: without momentum there are no velocities.
  explicit Sgd(std::vector<Tensor> parameters, const SgdOptions& options = {});

  /// The velocity of a parameter, numbered as they were given. Undefined before its first step, and without
  /// momentum.
  Tensor velocity(std::size_t parameter) const;
  /// Takes over the values of a velocity: steps go on as those of the one that had it. Throws Error without
  /// momentum, and for another shape or dtype than the parameter's.
  void set_velocity(std::size_t parameter, const Tensor& velocity);

 private:
  void step_on_cpu(Slot& slot) const override;
  void step_on_cuda(std::span<Slot* const> slots, const double* rates) const override;
  void check_momentum(double momentum) const override;

  SgdOptions options_;
};

}  // namespace kg::training
