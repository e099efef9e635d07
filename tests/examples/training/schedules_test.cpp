// SPDX-License-Identifier: MIT
#include "kernelgrad/training/schedules.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "catch.h"
#include "error_of.h"
#include "kernelgrad/training/sgd.h"

namespace kg::training {
namespace {

using testing::contains;
using testing::error_of;

Sgd optimizer(double learning_rate = 0.04) {
  return Sgd({}, {.learning_rate = learning_rate, .momentum = 0.9});
}

/// Learning rates of epochs that have these test losses.
std::vector<double> rates(const Schedule& schedule, const std::vector<double>& losses) {
  Sgd sgd = optimizer();
  const auto scheduler = make_scheduler(schedule, sgd, 10);
  std::vector<double> found;
  for (const double loss : losses) {
    found.push_back(sgd.learning_rate());
    scheduler->after_batch();
    scheduler->after_epoch(loss);
  }
  return found;
}

TEST_CASE("no schedule changes nothing", "[schedules]") {
  CHECK(rates({}, {3, 2, 1, 1, 1}) == std::vector<double>(5, 0.04));
}

TEST_CASE("StepLr: lr0 * gamma^floor(epoch / step_size)", "[schedules]") {
  for (const int step_size : {1, 2, 7, 100})
    for (const double gamma : {0.1, 0.5, 1.0, 1.5}) {
      const auto found =
          rates(StepLrOptions{.step_size = step_size, .gamma = gamma}, std::vector<double>(30, 1));
      for (int epoch = 0; epoch < 30; ++epoch) {
        INFO("step_size " << step_size << ", gamma " << gamma << ", epoch " << epoch);
        const double expected = 0.04 * std::pow(gamma, epoch / step_size);
        CHECK(std::abs(found[static_cast<std::size_t>(epoch)] - expected) <= 1e-13 * expected);
      }
    }
}

TEST_CASE("ReduceLrOnPlateau waits for more than patience epochs that are no better", "[schedules]") {
  const auto plateau = [](int patience) {
    return ReduceLrOnPlateauOptions{.factor = 0.5, .patience = patience};
  };
  CHECK(rates(plateau(0), {1, 1, 1, 0.5}) == std::vector<double>{0.04, 0.04, 0.02, 0.01});
  CHECK(rates(plateau(1), {1, 1, 1, 1, 1, 1}) == std::vector<double>{0.04, 0.04, 0.04, 0.02, 0.02, 0.01});
  // An epoch that is better starts the count anew; the best counts, not the one before.
  CHECK(rates(plateau(1), {1, 2, 0.9, 1.5, 1.2, 1}) ==
        std::vector<double>{0.04, 0.04, 0.04, 0.04, 0.04, 0.02});
  // Better is what is less by a ten-thousandth at least.
  CHECK(rates(plateau(0), {1, 0.99991, 1})[2] == 0.02);
  CHECK(rates(plateau(0), {1, 0.99989, 1})[2] == 0.04);
  CHECK(rates(ReduceLrOnPlateauOptions{.factor = 0.5, .patience = 0, .threshold = 0}, {1, 1, 1})[2] == 0.02);
}

TEST_CASE("ReduceLrOnPlateau stops at min_lr, and where the change is nothing", "[schedules]") {
  const std::vector<double> bad(6, 1);
  CHECK(rates(ReduceLrOnPlateauOptions{.factor = 0.5, .patience = 0, .min_lr = 0.015}, bad) ==
        std::vector<double>{0.04, 0.04, 0.02, 0.015, 0.015, 0.015});
  CHECK(rates(ReduceLrOnPlateauOptions{.factor = 0.5, .patience = 0, .epsilon = 0.015}, bad) ==
        std::vector<double>{0.04, 0.04, 0.02, 0.02, 0.02, 0.02});
  // A change of exactly epsilon is nothing, as in PyTorch.
  const double change = 0.04 - 0.04 * 0.5;
  CHECK(rates(ReduceLrOnPlateauOptions{.factor = 0.5, .patience = 0, .epsilon = change}, bad) ==
        std::vector<double>(6, 0.04));
  CHECK(rates(ReduceLrOnPlateauOptions{.factor = 0.5, .patience = 0, .epsilon = std::nextafter(change, 0.0)},
              bad)[2] == 0.02);
}

struct Rates {
  double learning_rate, momentum;
};

/// What each batch is trained with.
std::vector<Rates> cycle(const OneCycleLrOptions& options, int epochs, int batches) {
  Sgd sgd = optimizer(0.5);
  const auto scheduler = make_scheduler(options, sgd, std::int64_t{epochs} * batches);
  std::vector<Rates> found;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    for (int batch = 0; batch < batches; ++batch) {
      found.push_back({sgd.learning_rate(), sgd.momentum()});
      scheduler->after_batch();
    }
    scheduler->after_epoch(1);
  }
  return found;
}

TEST_CASE("OneCycleLr begins, peaks and ends where it should, and is smooth between", "[schedules]") {
  const OneCycleLrOptions options{.pct_start = 0.25, .div_factor = 10, .final_div_factor = 100};
  const std::vector<Rates> found = cycle(options, 4, 11);  // 44 batches: the peak is batch 10
  REQUIRE(found.size() == 44);
  const auto near = [](double a, double b) { return std::abs(a - b) <= 1e-15; };
  CHECK(near(found[0].learning_rate, 0.05));
  CHECK(near(found[0].momentum, 0.95));
  CHECK(near(found[10].learning_rate, 0.5));
  CHECK(near(found[10].momentum, 0.85));
  CHECK(near(found[43].learning_rate, 0.0005));
  CHECK(near(found[43].momentum, 0.95));
  for (std::size_t i = 0; i <= 10; ++i) {
    const double height = (1 - std::cos(std::numbers::pi * static_cast<double>(i) / 10)) / 2;
    CHECK(near(found[i].learning_rate, 0.05 + 0.45 * height));
    CHECK(near(found[i].momentum, 0.95 - 0.1 * height));
  }
  for (std::size_t i = 11; i < 44; ++i) {
    CHECK(found[i].learning_rate < found[i - 1].learning_rate);
    CHECK(found[i].momentum > found[i - 1].momentum);
  }
}

TEST_CASE("OneCycleLr that steps once an epoch goes through the first few steps only", "[schedules]") {
  const std::vector<Rates> by_batch = cycle({}, 15, 20), by_epoch = cycle({.step = StepEvery::epoch}, 15, 20);
  REQUIRE(by_epoch.size() == 300);
  for (std::size_t batch = 0; batch < 300; ++batch) {
    CHECK(by_epoch[batch].learning_rate == by_batch[batch / 20].learning_rate);
    CHECK(by_epoch[batch].momentum == by_batch[batch / 20].momentum);
  }
}

TEST_CASE("a schedule that is given another's state goes on as that one", "[schedules]") {
  const std::vector<Schedule> schedules = {
      {},
      StepLrOptions{.step_size = 3, .gamma = 0.5},
      ReduceLrOnPlateauOptions{.factor = 0.5, .patience = 1, .threshold = 0.1},
      OneCycleLrOptions{},
      OneCycleLrOptions{.step = StepEvery::epoch},
  };
  const std::vector<double> losses = {1, 0.5, 0.5, 0.49, 0.5, 0.2, 0.2, 0.2};
  for (const Schedule& schedule : schedules)
    for (std::size_t change = 0; change < losses.size(); ++change) {
      INFO("schedule " << schedule.index() << ", changed after epoch " << change);
      Sgd sgd = optimizer(), other = optimizer();
      const auto scheduler = make_scheduler(schedule, sgd, 24);
      const auto epoch = [&](Sgd& of, Scheduler& by, double loss) {
        std::vector<double> seen;
        for (int batch = 0; batch < 3; ++batch) {
          seen.insert(seen.end(), {of.learning_rate(), of.momentum()});
          by.after_batch();
        }
        by.after_epoch(loss);
        return seen;
      };
      for (std::size_t i = 0; i < change; ++i) epoch(sgd, *scheduler, losses[i]);
      const auto successor = make_scheduler(schedule, other, 24);
      successor->restore(scheduler->state());
      other.set_learning_rate(sgd.learning_rate());
      other.set_momentum(sgd.momentum());
      for (std::size_t i = change; i < losses.size(); ++i)
        CHECK(epoch(other, *successor, losses[i]) == epoch(sgd, *scheduler, losses[i]));
    }
}

TEST_CASE("a schedule refuses a state of another kind", "[schedules]") {
  Sgd sgd = optimizer();
  const auto scheduler = make_scheduler(StepLrOptions{}, sgd, 10);
  CHECK(error_of([&] {
          scheduler->restore(std::vector<double>{1, 2});
        }) == "schedule: a state of 2 numbers, expected 1");
}

TEST_CASE("only one-cycle depends on how long training is", "[schedules]") {
  CHECK(depends_on_length(OneCycleLrOptions{}));
  for (const Schedule& schedule :
       {Schedule(), Schedule(StepLrOptions{}), Schedule(ReduceLrOnPlateauOptions{})})
    CHECK_FALSE(depends_on_length(schedule));
}

TEST_CASE("ReduceLrOnPlateau makes no change of exactly epsilon", "[schedules]") {
  // 0.5 to 0.25.
  const auto last = [&](double epsilon) {
    Sgd sgd = optimizer(0.5);
    const auto scheduler =
        make_scheduler(ReduceLrOnPlateauOptions{.factor = 0.5, .patience = 0, .epsilon = epsilon}, sgd, 10);
    scheduler->after_epoch(1);
    scheduler->after_epoch(1);
    return sgd.learning_rate();
  };
  CHECK(last(0.25) == 0.5);
  CHECK(last(0.2499) == 0.25);
}

TEST_CASE("a schedule refuses options that mean nothing", "[schedules]") {
  const auto error = [](const Schedule& schedule, std::int64_t batches = 100) {
    return error_of([&] {
      Sgd sgd = optimizer();
      make_scheduler(schedule, sgd, batches);
    });
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(contains(error(StepLrOptions{.step_size = 0}), "StepLr: step_size is 0"));
  CHECK(contains(error(StepLrOptions{.gamma = -0.1}), "gamma is -0.1"));
  CHECK(contains(error(ReduceLrOnPlateauOptions{.factor = 1}), "factor is 1"));
  CHECK(contains(error(ReduceLrOnPlateauOptions{.patience = -1}), "patience is -1"));
  CHECK(contains(error(ReduceLrOnPlateauOptions{.threshold = nan}), "threshold is nan"));
  CHECK(contains(error(OneCycleLrOptions{.pct_start = 1}), "pct_start is 1"));
  CHECK(contains(error(OneCycleLrOptions{.div_factor = 0}), "div_factor is 0"));
  CHECK(contains(error(OneCycleLrOptions{.final_div_factor = -1}), "final_div_factor is -1"));
  CHECK(contains(error(OneCycleLrOptions{.pct_start = 0.25}, 4), "pct_start * batches is 1"));
  CHECK(contains(error(OneCycleLrOptions{.base_momentum = 0}), "base_momentum is 0"));
  CHECK(contains(error(OneCycleLrOptions{.max_momentum = nan}), "max_momentum is nan"));
  Sgd without({}, {.learning_rate = 0.1});
  CHECK(contains(error_of([&] { make_scheduler(OneCycleLrOptions(), without, 100); }), "momentum"));
}

}  // namespace
}  // namespace kg::training
