#pragma once

#include "sgd.h"

namespace mnist {

struct StepLrOptions {
  int step_size = 0;  ///< in epochs; 0: the learning rate never changes
  double gamma = 0.1;
};

/// Multiplies the learning rate by gamma after every step_size epochs, as torch.optim.lr_scheduler.StepLR
/// does.
class StepLr {
 public:
  /// `optimizer` must outlive the schedule.
  StepLr(Sgd& optimizer, const StepLrOptions& options) : optimizer_(optimizer), options_(options) {}

  /// To be called after each epoch.
  void step() {
    ++epoch_;
    if (options_.step_size > 0 && epoch_ % options_.step_size == 0)
      optimizer_.set_learning_rate(optimizer_.learning_rate() * options_.gamma);
  }

 private:
  Sgd& optimizer_;
  StepLrOptions options_;
  int epoch_ = 0;
};

}  // namespace mnist
