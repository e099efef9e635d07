#pragma once

#include <vector>

#include "kernelgrad/tensor.h"

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
/// Without momentum v is g. A parameter without a gradient is left alone.
///
/// On CUDA a step is one launch for all parameters of a dtype, with the same bits as on the CPU, and it can
/// be recorded (Graph): replays follow set_learning_rate() and set_momentum(), and a first step is one in
/// a replay too. What a step keeps on CUDA is allocated by the constructor for parameters that are there
/// already, and by their first step for others, which must not be recorded then.
class Sgd {
 public:
  /// Throws Error for negative options, and for nesterov without momentum or with dampening.
  explicit Sgd(std::vector<Tensor> parameters, const SgdOptions& options = {});

  void zero_grad();
  /// Throws Error if a parameter has been moved to another device or dtype, away from its velocity.
  void step();

  double learning_rate() const { return options_.learning_rate; }
  /// Throws Error for a negative one.
  void set_learning_rate(double learning_rate);

  double momentum() const { return options_.momentum; }
  /// Throws Error unless the momentum is positive and has been from the start: without momentum there are
  /// no velocities.
  void set_momentum(double momentum);

  /// The velocity of a parameter, numbered as they were given. Undefined before its first step, and without
  /// momentum.
  Tensor velocity(std::size_t parameter) const;
  /// Takes over the values of a velocity: steps go on as those of the one that had it. Throws Error
  /// without momentum, and for another shape or dtype than the parameter's.
  void set_velocity(std::size_t parameter, const Tensor& velocity);
  std::size_t parameter_count() const { return slots_.size(); }

 private:
  struct Slot {
    Tensor parameter;
    Tensor velocity;  ///< undefined before the parameter's first step, and without momentum
    Tensor started;   ///< on CUDA: where the velocity holds a value
  };

  template <class T>
  void step_on_cpu(Slot& slot) const;
  template <class T>
  void step_on_cuda();
  /// What steps of the parameter on CUDA need.
  void prepare_on_cuda(Slot& slot);
  /// The learning rate and the momentum as steps on CUDA read them: cuda::SgdRates.
  Tensor rates() const;

  std::vector<Slot> slots_;
  SgdOptions options_;
  Tensor rates_on_cuda_;  ///< undefined as long as no parameter is there
};

}  // namespace kg::training
