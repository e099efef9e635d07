// SPDX-License-Identifier: MIT
#include "kernelgrad/training/weight_average.h"

#include <algorithm>

#include "kernelgrad/kernelgrad.h"
#include "support.h"

namespace kg::training {
namespace {

namespace nn = nn;
using testing::devices;

nn::Sequential small_network(std::uint64_t seed) {
  manual_seed(seed);
  return {nn::Conv2d(1, 3, 3), nn::BatchNorm2d(3)};
}

/// Fills every floating-point tensor of the network with numbers that depend on the seed, and sets the count.
void fill(nn::Module& network, std::uint32_t seed) {
  for (nn::NamedTensor& entry : network.state_dict()) {
    const Tensor& tensor = entry.tensor;
    entry.tensor.copy_from(is_floating_point(tensor.dtype())
                               ? testing::random(tensor.shape(), tensor.dtype(), seed++, tensor.device())
                               : Tensor::from(std::vector<std::int64_t>{seed}, {}, tensor.device()));
  }
}

/// The decay of step t, by the formula.
double decay_of(int t, double decay) { return std::min(decay, (t - 1.0) / (t + 9.0)); }

TEST_CASE("a weight average begins with the first weights it sees and forgets by its decay",
          "[weight_average]") {
  for (const Device device : devices()) {
    INFO(device.name());
    nn::Sequential network = small_network(1), averaged = small_network(2);
    network.to(device);
    averaged.to(device);
    fill(network, 10);
    WeightAverage average(network, averaged, 0.3);
    const nn::StateDict now = network.state_dict(), mean = averaged.state_dict();
    std::vector<reference::Values> expected;
    for (std::size_t i = 0; i < now.size(); ++i) {
      CHECK(testing::same_bits(mean[i].tensor, now[i].tensor));
      expected.push_back(testing::with_terms(now[i].tensor, {}));
    }
    for (int t = 1; t <= 8; ++t) {
      fill(network, static_cast<std::uint32_t>(10 + 10 * t));
      average.next_step();
      average.update();
      CHECK(average.steps() == t);
      const double decay = decay_of(t, 0.3);
      for (std::size_t i = 0; i < now.size(); ++i) {
        INFO(now[i].name << " in step " << t);
        const Tensor value = now[i].tensor.detach();
        const double kept = is_floating_point(value.dtype()) ? decay : 0;
        const std::vector<double> values = testing::to_doubles(value);
        for (std::size_t j = 0; j < values.size(); ++j) {
          expected[i].sum[j] = kept * expected[i].sum[j] + (1 - kept) * values[j];
          expected[i].terms[j] = kept * expected[i].terms[j] + (1 - kept) * std::abs(values[j]);
        }
        CHECK(testing::difference(mean[i].tensor, expected[i], 1e-6) == "");
        if (t == 1) CHECK(testing::same_bits(mean[i].tensor, value));
      }
    }
  }
}

TEST_CASE("a weight average that is given another's values and steps goes on as that one",
          "[weight_average]") {
  for (const Device device : devices()) {
    INFO(device.name());
    nn::Sequential network = small_network(1), first = small_network(2), second = small_network(3);
    for (nn::Sequential* const each : {&network, &first, &second}) each->to(device);
    WeightAverage average(network, first, 0.9);
    const auto step = [&](std::uint32_t seed, WeightAverage& one) {
      fill(network, seed);
      one.next_step();
      one.update();
    };
    for (const std::uint32_t seed : {10u, 20u, 30u}) step(seed, average);
    WeightAverage other(network, second, 0.9);
    second.load_state_dict(first.state_dict());
    other.set_steps(average.steps());
    step(40, average);
    step(40, other);
    const nn::StateDict one = first.state_dict(), two = second.state_dict();
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(testing::same_bits(one[i].tensor, two[i].tensor));
  }
}

TEST_CASE("a recorded update of a weight average follows the network", "[weight_average]") {
  if (!cuda_is_available()) return;
  nn::Sequential network = small_network(1), averaged = small_network(2), eager = small_network(3);
  for (nn::Sequential* const each : {&network, &averaged, &eager}) each->to(Device::cuda());
  WeightAverage recorded(network, averaged, 0.9), reference(network, eager, 0.9);
  Graph update([&] { recorded.update(); });
  for (const std::uint32_t seed : {10u, 20u, 30u}) {
    fill(network, seed);
    recorded.next_step();
    update.replay();
    reference.next_step();
    reference.update();
  }
  const nn::StateDict actual = averaged.state_dict(), expected = eager.state_dict();
  for (std::size_t i = 0; i < actual.size(); ++i) {
    INFO(actual[i].name);
    CHECK(testing::same_bits(actual[i].tensor, expected[i].tensor));
  }
}

TEST_CASE("a weight average refuses a decay that is none, and another network", "[weight_average]") {
  nn::Sequential network = small_network(1), same = small_network(2), other = {nn::Conv2d(1, 4, 3)};
  for (const double decay : {-0.1, 1.0, 1.5})
    testing::check_error([&] { WeightAverage(network, same, decay); }, {"decay", "0 <= decay < 1"});
  CHECK_THROWS_AS(WeightAverage(network, other, 0.9), Error);
}

}  // namespace
}  // namespace kg::training
