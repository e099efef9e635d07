// SPDX-License-Identifier: MIT
#pragma once

#include <vector>

#include "kernelgrad/training/optimizer.h"

namespace kg::training {

/// Under the names that torch.optim.Adam has for them, but for `lr`, `eps` and the pair of betas.
struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
};

/// The same for torch.optim.AdamW.
struct AdamWOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 1e-2;
};

/// Adam (Kingma & Ba, 2015) as torch.optim.Adam defines it. In step t = 1, 2, ... of parameter w with
/// gradient g, m and s being 0 before the first:
///
///     g += weight_decay * w
///     m  = beta1 * m + (1 - beta1) * g
///     s  = beta2 * s + (1 - beta2) * g * g
///     w -= learning_rate / (1 - beta1^t) * m / (sqrt(s) / sqrt(1 - beta2^t) + epsilon)
///
/// beta1 is what schedules take for its momentum.
class Adam : public Optimizer {
 public:
  /// Throws Error for negative options, and unless both betas are below 1.
  explicit Adam(std::vector<Tensor> parameters, const AdamOptions& options = {});

 protected:
  Adam(const char* name, std::vector<Tensor> parameters, const AdamOptions& options, bool decoupled);

 private:
  void step_on_cpu(Slot& slot) const override;
  void step_on_cuda(std::span<Slot* const> slots, const double* rates) const override;
  void check_momentum(double momentum) const override;

  AdamOptions options_;
  bool decoupled_;  ///< the weight decay is AdamW's
};

/// Adam with decoupled weight decay (Loshchilov & Hutter, 2019) as torch.optim.AdamW defines it: in place of
/// the first line of Adam's formula it has
///
///     w -= learning_rate * weight_decay * w
class AdamW : public Adam {
 public:
  /// Throws Error as Adam's does.
  explicit AdamW(std::vector<Tensor> parameters, const AdamWOptions& options = {});
};

}  // namespace kg::training
