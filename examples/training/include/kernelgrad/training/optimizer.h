// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernelgrad/nn.h"
#include "kernelgrad/tensor.h"

namespace kg::training {

/// What moves parameters along their gradients, a step at a time. A parameter without a gradient is left
/// alone.
///
/// On CUDA a step is one launch for all parameters of a dtype, with the same bits as on the CPU, and it can
/// be recorded (kg::Graph): replays follow set_learning_rate() and set_momentum(), and a first step is one in
/// a replay too. What a step keeps on CUDA is allocated by the constructor for parameters that are there
/// already, and by their first step for others, which must not be recorded then.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  void zero_grad();
  /// Throws Error if a parameter has been moved to another device or dtype, away from what is kept of it.
  void step();

  double learning_rate() const { return learning_rate_; }
  /// Throws Error for a negative one.
  void set_learning_rate(double learning_rate);

  /// How much of the moves before goes on in the next: Sgd's momentum, Adam's beta1.
  double momentum() const { return momentum_; }
  /// Throws Error for what is none of this optimizer.
  void set_momentum(double momentum);

  std::size_t parameter_count() const { return slots_.size(); }

  /// What is kept from step to step, under names that end with the parameter's number as it was given:
  /// "velocity.0". Learning rate and momentum are not among it.
  nn::StateDict state() const;
  /// Takes over such a state: steps go on as those of the one that had it. Throws Error, naming the tensor,
  /// for one that is no part of this optimizer's state, is missing, or has another shape or dtype than its
  /// parameter.
  void restore(const nn::StateDict& state);

 protected:
  /// A parameter and what is kept of it.
  struct Slot {
    Tensor parameter;
    std::vector<Tensor> kept = {};  ///< each like the parameter; empty before its first step on the CPU
    std::int64_t steps = 0;         ///< on the CPU
    Tensor block_steps = {};        ///< on CUDA: int32, as each block of threads counts them
  };

  /// What the class that derives from this is called, and what it keeps.
  struct Kind {
    const char* name;
    std::vector<std::string> kept;  ///< tensors like each parameter
    bool counts_steps = false;      ///< the number of a step matters beyond the first
  };

  Optimizer(Kind kind, std::vector<Tensor> parameters, double learning_rate, double momentum);

  /// Step number slot.steps of a parameter on the CPU, for which all memory is there.
  virtual void step_on_cpu(Slot& slot) const = 0;
  /// A step of these on CUDA, for which all memory is there. `rates` are learning rate and momentum in device
  /// memory.
  virtual void step_on_cuda(std::span<Slot* const> slots, const double* rates) const = 0;
  virtual void check_momentum(double momentum) const = 0;

  void require_not_negative(double value, const char* what) const;

  /// What is kept of a parameter; nothing before its first step.
  std::vector<Tensor> kept(std::size_t parameter) const;
  void set_kept(std::size_t parameter, const std::vector<Tensor>& values, std::int64_t steps);

 private:
  std::int64_t steps_of(const Slot& slot) const;
  /// Allocates what steps of the parameter need where it is.
  void prepare(Slot& slot);
  Tensor rates() const;

  Kind kind_;
  std::vector<Slot> slots_;
  double learning_rate_, momentum_;
  Tensor rates_on_cuda_;  ///< undefined as long as no parameter is there
};

}  // namespace kg::training
