// SPDX-License-Identifier: MIT
#include "kernelgrad/training/schedules.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernelgrad/error.h"

namespace kg::training {

namespace {

void require(bool holds, const char* schedule, const char* argument, double given, const char* expected) {
  if (!holds) throw Error(fmt::format("{}: {} is {}, expected {}", schedule, argument, given, expected));
}

class StepLr : public Scheduler {
 public:
  StepLr(Optimizer& optimizer, const StepLrOptions& options) : optimizer_(optimizer), options_(options) {
    require(options.step_size >= 1, "StepLr", "step_size", options.step_size, "at least 1 epoch");
    require(options.gamma >= 0, "StepLr", "gamma", options.gamma, "a factor that is not negative");
  }

  void after_epoch(double) override {
    if (++epoch_ % options_.step_size == 0)
      optimizer_.set_learning_rate(optimizer_.learning_rate() * options_.gamma);
  }
  std::vector<double> state() const override { return {static_cast<double>(epoch_)}; }

 protected:
  void take(std::span<const double> state) override { epoch_ = static_cast<int>(state[0]); }

 private:
  Optimizer& optimizer_;
  StepLrOptions options_;
  int epoch_ = 0;
};

class ReduceLrOnPlateau : public Scheduler {
 public:
  ReduceLrOnPlateau(Optimizer& optimizer, const ReduceLrOnPlateauOptions& options)
      : optimizer_(optimizer), options_(options) {
    constexpr const char* name = "ReduceLrOnPlateau";
    require(options.factor >= 0 && options.factor < 1, name, "factor", options.factor, "0 <= factor < 1");
    require(options.patience >= 0, name, "patience", options.patience, "at least 0 epochs");
    require(options.threshold >= 0, name, "threshold", options.threshold, "at least 0");
    require(options.min_lr >= 0, name, "min_lr", options.min_lr, "at least 0");
    require(options.epsilon >= 0, name, "epsilon", options.epsilon, "at least 0");
  }

  void after_epoch(double test_loss) override {
    if (test_loss < best_ * (1 - options_.threshold)) {
      best_ = test_loss;
      bad_epochs_ = 0;
      return;
    }
    if (++bad_epochs_ <= options_.patience) return;
    bad_epochs_ = 0;
    const double rate = optimizer_.learning_rate();
    const double reduced = std::max(rate * options_.factor, options_.min_lr);
    if (rate - reduced > options_.epsilon) optimizer_.set_learning_rate(reduced);
  }
  std::vector<double> state() const override { return {best_, static_cast<double>(bad_epochs_)}; }

 protected:
  void take(std::span<const double> state) override {
    best_ = state[0];
    bad_epochs_ = static_cast<int>(state[1]);
  }

 private:
  Optimizer& optimizer_;
  ReduceLrOnPlateauOptions options_;
  double best_ = std::numeric_limits<double>::infinity();
  int bad_epochs_ = 0;
};

/// Half a cosine from `start` (at 0) to `end` (at 1).
double cosine(double start, double end, double position) {
  return end + (start - end) / 2 * (std::cos(std::numbers::pi * position) + 1);
}

class OneCycleLr : public Scheduler {
 public:
  OneCycleLr(Optimizer& optimizer, const OneCycleLrOptions& options, std::int64_t batches)
      : optimizer_(optimizer),
        options_(options),
        max_lr_(optimizer.learning_rate()),
        peak_(options.pct_start * static_cast<double>(batches) - 1),
        last_(static_cast<double>(batches) - 1) {
    constexpr const char* name = "OneCycleLr";
    require(options.pct_start >= 0 && options.pct_start < 1, name, "pct_start", options.pct_start,
            "0 <= pct_start < 1");
    require(options.div_factor > 0, name, "div_factor", options.div_factor, "a positive factor");
    require(options.final_div_factor > 0, name, "final_div_factor", options.final_div_factor,
            "a positive factor");
    require(options.base_momentum > 0, name, "base_momentum", options.base_momentum, "a positive number");
    require(options.max_momentum > 0, name, "max_momentum", options.max_momentum, "a positive number");
    // The first step would be the whole of the warm-up, from the start and at the peak in one.
    require(peak_ != 0, name, "pct_start * batches", peak_ + 1, "anything but 1");
    set_rates();
  }

  void after_batch() override {
    if (options_.step == StepEvery::batch) advance();
  }
  void after_epoch(double) override {
    if (options_.step == StepEvery::epoch) advance();
  }
  std::vector<double> state() const override { return {step_}; }

 protected:
  void take(std::span<const double> state) override {
    step_ = state[0];
    set_rates();
  }

 private:
  void advance() {
    ++step_;
    set_rates();
  }

  void set_rates() {
    const double start_lr = max_lr_ / options_.div_factor, end_lr = start_lr / options_.final_div_factor;
    if (step_ <= peak_) {
      set_rates(start_lr, max_lr_, options_.max_momentum, options_.base_momentum, step_ / peak_);
    } else {
      const double position = (step_ - peak_) / (last_ - peak_);
      set_rates(max_lr_, end_lr, options_.base_momentum, options_.max_momentum, position);
    }
  }

  void set_rates(double from_lr, double to_lr, double from_momentum, double to_momentum, double position) {
    optimizer_.set_learning_rate(cosine(from_lr, to_lr, position));
    optimizer_.set_momentum(cosine(from_momentum, to_momentum, position));
  }

  Optimizer& optimizer_;
  OneCycleLrOptions options_;
  double max_lr_;
  double peak_, last_;  ///< the steps at which the rate is largest and smallest, counted from 0
  double step_ = 0;
};

}  // namespace

void Scheduler::restore(std::span<const double> given) {
  if (given.size() != state().size())
    throw Error(fmt::format("schedule: a state of {} numbers, expected {}", given.size(), state().size()));
  take(given);
}

bool depends_on_length(const Schedule& schedule) {
  return std::holds_alternative<OneCycleLrOptions>(schedule);
}

std::unique_ptr<Scheduler> make_scheduler(const Schedule& schedule, Optimizer& optimizer,
                                          std::int64_t batches) {
  if (const auto* step = std::get_if<StepLrOptions>(&schedule))
    return std::make_unique<StepLr>(optimizer, *step);
  if (const auto* plateau = std::get_if<ReduceLrOnPlateauOptions>(&schedule))
    return std::make_unique<ReduceLrOnPlateau>(optimizer, *plateau);
  if (const auto* cycle = std::get_if<OneCycleLrOptions>(&schedule))
    return std::make_unique<OneCycleLr>(optimizer, *cycle, batches);
  return std::make_unique<Scheduler>();
}

}  // namespace kg::training
