// SPDX-License-Identifier: MIT
#include "cases/reduce.h"
#include "labels.h"
#include "support.h"

/// Long sums in float32. All terms are positive: each rounding of a sum in float32 is in proportion to all of
/// it, and a hundred thousand of them show. (Where terms cancel, a test in proportion to the terms' absolute
/// values would let them pass.)
namespace kg {
namespace {

using namespace testing;

/// Values in [0.5, 1.5).
Tensor positive(const Shape& shape, std::uint32_t seed, Device device) {
  Tensor values = random(shape, DType::float64, seed);
  for (double& value : values.span<double>()) value = 1 + value / 2;
  return values.to(DType::float32).to(device);
}

/// Of the function of float32 inputs, its value and gradients from an incoming gradient of positive values:
/// how far they are from what the same function gives in double, rounded once, in proportion to that, where
/// most.
std::vector<double> deviations(const Function& function, const std::vector<Tensor>& inputs) {
  const auto results_in = [&](DType dtype) {
    std::vector<Tensor> leaves;
    for (const Tensor& input : inputs) leaves.push_back(input.to(dtype).clone().set_requires_grad());
    const Tensor output = function(leaves);
    output.backward(positive(output.shape(), 99, output.device()).to(dtype));
    std::vector<std::vector<double>> results = {to_doubles(output)};
    for (const Tensor& leaf : leaves) results.push_back(to_doubles(leaf.grad()));
    return results;
  };
  const auto single = results_in(DType::float32), twice = results_in(DType::float64);
  std::vector<double> worst(single.size());
  for (std::size_t r = 0; r < single.size(); ++r)
    for (std::size_t i = 0; i < single[r].size(); ++i)
      worst[r] =
          std::max(worst[r], std::abs(single[r][i] - static_cast<double>(static_cast<float>(twice[r][i]))) /
                                 twice[r][i]);
  return worst;
}

/// A last bit, where an operation rounds what it adds up, or adds up short pieces in float32.
constexpr double one_bit = 1.2e-7;

TEST_CASE("sum and mean add up in double", "[sums][reduce]") {
  using Sum = cases::Reduction;
  const Sum p = GENERATE(Sum{{100'003}, {}}, Sum{{100'003, 2}, {0}}, Sum{{2, 100'003}, {1}},
                         Sum{{300, 2, 337}, {0, 2}});
  for (const Device device : devices()) {
    INFO(device.name() << ", " << describe(p));
    const Tensor x = positive(p.shape, 1, device);
    const auto reduced = [&](Tensor (*op)(const Tensor&, const ReduceOptions&)) -> Function {
      return [=](const std::vector<Tensor>& t) { return op(t[0], {.dims = p.dims}); };
    };
    CHECK(deviations(reduced(sum), {x})[0] == 0);
    CHECK(deviations(reduced(mean), {x})[0] == 0);
  }
}

TEST_CASE("sum of everything adds up its pieces in double too", "[sums][reduce]") {
  // A few pieces: their roundings would often cancel or vanish in the last one.
  for (const Device device : devices())
    for (std::uint32_t seed = 0; seed < 30; ++seed) {
      INFO(device.name() << ", seed " << seed);
      CHECK(deviations([](const std::vector<Tensor>& t) { return sum(t[0]); },
                       {positive({100'003}, seed, device)})[0] == 0);
    }
}

TEST_CASE("linear's gradient of the bias adds up in double", "[sums][linear][native]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const std::vector<double> found = deviations(
        [](const std::vector<Tensor>& t) { return linear(t[0], t[1], t[2]); },
        {positive({100'003, 2}, 1, device), positive({3, 2}, 2, device), positive({3}, 3, device)});
    CHECK(found[3] <= (device.is_cpu() ? 0 : one_bit));
  }
}

TEST_CASE("conv2d's gradient of the bias adds up in double", "[sums][conv2d][native]") {
  const Shape shape = GENERATE(Shape{2, 1, 200, 251}, Shape{10'007, 1, 2, 5});
  for (const Device device : devices()) {
    INFO(device.name() << ", " << to_string(shape));
    const std::vector<double> found =
        deviations([](const std::vector<Tensor>& t) { return conv2d(t[0], t[1], t[2]); },
                   {positive(shape, 1, device), positive({2, 1, 1, 1}, 2, device), positive({2}, 3, device)});
    CHECK(found[3] <= (device.is_cpu() ? 0 : one_bit));
  }
}

TEST_CASE("The losses add up in double", "[sums][cross_entropy][nll_loss]") {
  const Reduction reduction = GENERATE(Reduction::mean, Reduction::sum);
  const cases::Rows p{100'003, 2};
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor labels = label_tensor(labels_of(p), device), x = positive({p.rows, p.classes}, 1, device);
    CHECK(deviations([&](const auto& t) { return nll_loss(t[0], labels, reduction); }, {x})[0] == 0);
    CHECK(deviations([&](const auto& t) { return cross_entropy(t[0], labels, reduction); }, {x})[0] <
          one_bit);
  }
}

TEST_CASE("The mean of a plane adds up in double", "[sums][global_avg_pool2d][avg_pool2d][native]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = positive({1, 1, 320, 313}, 1, device);
    CHECK(deviations([](const auto& t) { return global_avg_pool2d(t[0]); }, {x})[0] == 0);
    CHECK(deviations([](const auto& t) { return avg_pool2d(t[0], {320, 313}); }, {x})[0] == 0);
  }
}

TEST_CASE("batch_norm's statistics and sums of gradients do not lose precision at size",
          "[sums][batch_norm][native]") {
  const Shape shape = GENERATE(Shape{1, 2, 400, 251}, Shape{20'003, 2, 1, 5});
  for (const Device device : devices()) {
    INFO(device.name() << ", " << to_string(shape));
    const Tensor x = positive(shape, 1, device);
    const auto statistics_in = [&](DType dtype) {
      Tensor mean = Tensor::zeros({2}, {dtype, device}), var = mean.clone();
      batch_norm(x.to(dtype), {}, {}, mean, var, {.training = true, .momentum = 1});
      return std::pair(to_doubles(mean), to_doubles(var));
    };
    const auto [mean, var] = statistics_in(DType::float32);
    const auto [exact_mean, exact_var] = statistics_in(DType::float64);
    // gamma's gradient is a sum of either sign: only beta's is looked at.
    const std::vector<double> found =
        deviations([](const auto& t) { return batch_norm(t[0], t[1], t[2], {}, {}, {.training = true}); },
                   {x, positive({2}, 2, device), positive({2}, 3, device)});
    for (std::size_t c = 0; c < 2; ++c) {
      CHECK(std::abs(mean[c] / exact_mean[c] - 1) < one_bit);
      CHECK(std::abs(var[c] / exact_var[c] - 1) < 4 * one_bit);
    }
    CHECK(found[3] < 4 * one_bit);
  }
}

/// Products are added up in float32, but not one after the other: their sum loses no more than a few
/// roundings of it however many there are.
TEST_CASE("Products of many terms lose little", "[sums][linear][conv2d][native]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const std::vector<double> products =
        deviations([](const std::vector<Tensor>& t) { return linear(t[0], t[1]); },
                   {positive({3, 100'003}, 1, device), positive({2, 100'003}, 2, device)});
    CHECK(products[0] < 2e-5);
    const std::vector<double> weights =
        deviations([](const std::vector<Tensor>& t) { return conv2d(t[0], t[1]); },
                   {positive({3, 1, 180, 190}, 1, device), positive({2, 1, 3, 3}, 2, device)});
    CHECK(weights[2] < 2e-5);
  }
}

}  // namespace
}  // namespace kg
