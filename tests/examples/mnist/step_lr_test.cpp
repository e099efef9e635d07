#include "step_lr.h"

#include <cmath>

#include "catch.h"

namespace mnist {
namespace {

TEST_CASE("StepLr: lr0 * gamma^floor(epoch / step_size)", "[step_lr]") {
  for (const int step_size : {1, 2, 7, 100})
    for (const double gamma : {0.1, 0.5, 1.0, 1.5}) {
      Sgd sgd({}, {.learning_rate = 0.04});
      StepLr schedule(sgd, {.step_size = step_size, .gamma = gamma});
      for (int epoch = 0; epoch < 30; ++epoch, schedule.step()) {
        INFO("step_size " << step_size << ", gamma " << gamma << ", epoch " << epoch);
        const double expected = 0.04 * std::pow(gamma, epoch / step_size);
        CHECK(std::abs(sgd.learning_rate() - expected) <= 1e-13 * expected);
      }
    }
}

TEST_CASE("StepLr with step_size 0 never changes the learning rate", "[step_lr]") {
  Sgd sgd({}, {.learning_rate = 0.04});
  StepLr schedule(sgd, {.step_size = 0, .gamma = 0.1});
  for (int epoch = 0; epoch < 30; ++epoch) schedule.step();
  CHECK(sgd.learning_rate() == 0.04);
}

}  // namespace
}  // namespace mnist
