// SPDX-License-Identifier: MIT
#include "cases/dropout.h"

#include "support.h"

namespace kg {
namespace {

using namespace testing;
using cases::Count;

Tensor ones(std::int64_t count, DType dtype = DType::float32, Device device = {}) {
  return Tensor::ones({count}, {.dtype = dtype, .device = device});
}

double kept(const Tensor& dropped) {
  return double(std::ranges::count_if(to_doubles(dropped), [](double value) { return value != 0; }));
}

TEST_CASE("dropout keeps values times 1 / (1 - p), or sets them to 0", "[dropout]") {
  for_each_case(cases::dropout, [](Device device, const Count& p) {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const double probability : {0.1, 0.5, 0.9}) {
        Generator generator(1);
        const Tensor x = distinct({p.count}, dtype, 1, device);
        const std::vector<double> before = to_doubles(x),
                                  after = to_doubles(dropout(x, probability, generator));
        for (std::size_t i = 0; i < before.size(); ++i)
          CHECK((after[i] == 0 ||
                 std::abs(after[i] * (1 - probability) - before[i]) <= 2e-7 * std::abs(before[i])));
      }
  });
}

TEST_CASE("dropout passes the gradient check: backward uses the mask of forward", "[dropout][gradcheck]") {
  for_each_case(cases::dropout, [](Device device, const Count& p) {
    const Function function = [](const std::vector<Tensor>& t) {
      Generator generator(5);
      return dropout(t[0], 0.3, generator);
    };
    const Tensor x = random({p.count}, DType::float64, 1, device);
    p.count <= 1000 ? check_gradients(function, {x}) : check_gradients_along_directions(function, {x});
  });
}

TEST_CASE("dropout's backward is not moved by later draws", "[dropout]") {
  for (const Device device : devices()) {
    INFO(device.name());
    Generator generator(5);
    Tensor x = ones(1000, DType::float32, device).set_requires_grad();
    const Tensor y = dropout(x, 0.5, generator);
    dropout(x, 0.5, generator);
    generator.set_state(77, 3);
    y.backward(ones(1000, DType::float32, device));
    CHECK(same_bits(x.grad(), y.detach()));
  }
}

TEST_CASE("dropout drops the same values on every device, bit for bit", "[dropout]") {
  for_each_case(cases::dropout, [](Device device, const Count& p) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      Generator here(9), there(9);
      const Tensor x = random({p.count}, dtype, 1);
      CHECK(same_bits(dropout(x, 0.3, here), dropout(x.to(device), 0.3, there)));
    }
  });
}

TEST_CASE("dropout of nothing is nothing", "[dropout]") {
  for (const Device device : devices()) {
    INFO(device.name());
    Generator generator(1);
    CHECK(dropout(Tensor::zeros({3, 0}, {.device = device}), 0.5, generator).shape() == Shape{3, 0});
  }
}

TEST_CASE("dropout drops a share of p, within five standard deviations", "[dropout]") {
  const double p = GENERATE(0.001, 0.1, 0.25, 0.5, 0.9, 0.999);
  const double count = 1e6;
  Generator generator(11);
  const double expected = count * (1 - p), sigma = std::sqrt(count * p * (1 - p));
  CHECK(std::abs(kept(dropout(ones(1'000'000), p, generator)) - expected) < 5 * sigma);
}

TEST_CASE("Every draw, seed and place has a mask of its own", "[dropout]") {
  const auto mask = [](std::uint64_t seed, std::uint64_t draw) {
    Generator generator;
    generator.set_state(seed, draw);
    return dropout(ones(100'000), 0.5, generator);
  };
  const Tensor first = mask(1, 0);
  CHECK(same_bits(first, mask(1, 0)));
  // Independent masks agree in half of the places; 5 sigma are 790 of 100,000.
  const auto check_independent = [&](const Tensor& a, const Tensor& b) {
    double equal = 0;
    for (std::int64_t i = 0; i < a.numel(); ++i) equal += a.data<float>()[i] == b.data<float>()[i];
    CHECK(std::abs(equal - 50'000) < 800);
  };
  check_independent(first, mask(1, 1));
  check_independent(first, mask(2, 0));
  check_independent(first, mask(1ull << 32 | 1, 0));
  Tensor shifted = first.clone();
  for (std::int64_t i = 0; i + 1 < first.numel(); ++i) shifted.data<float>()[i] = first.data<float>()[i + 1];
  check_independent(first, shifted);
}

TEST_CASE("dropout with p = 0 returns its input and draws nothing", "[dropout]") {
  for (const Device device : devices()) {
    INFO(device.name());
    Generator generator(1);
    const Tensor x = random({33}, DType::float32, 0, device);
    CHECK(dropout(x, 0, generator).device_data<float>() == x.device_data<float>());
    CHECK(generator.draws() == 0);
  }
}

/// PyTorch's dropout is a product: 0 * NaN and 0 * infinity are NaN.
TEST_CASE("dropout multiplies by 0: a dropped NaN or infinity is NaN, forward and backward", "[dropout]") {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const Device device : devices())
    for (const DType dtype : {DType::float32, DType::float64})
      for (const double p : {0.5, 1.0})
        for (const double bad : {std::nan(""), infinity, -infinity})
          // Every lane of every vector, and what is left over behind the last.
          for (std::int64_t count = 1; count <= 67; count += 11) {
            INFO(device.name() << ", " << name_of(dtype) << ", p " << p << ", " << bad << ", " << count
                               << " elements");
            Generator mask_generator(1), generator(1);
            const TensorOptions options = {.dtype = dtype, .device = device};
            const std::vector<double> mask =
                to_doubles(dropout(Tensor::ones({count}, options), p, mask_generator));
            Tensor x = Tensor::full({count}, bad, options).set_requires_grad();
            const Tensor y = dropout(x, p, generator);
            y.backward(Tensor::full({count}, bad, options));
            for (const Tensor& result : {y.detach(), x.grad()}) {
              const std::vector<double> values = to_doubles(result);
              for (std::size_t i = 0; i < mask.size(); ++i) {
                const bool expects_nan = mask[i] == 0 || std::isnan(bad);
                CHECK(std::isnan(values[i]) == expects_nan);
                if (!expects_nan) CHECK(values[i] == bad);
              }
            }
          }
}

TEST_CASE("dropout with p = 1 drops every number, forward and backward", "[dropout]") {
  for (const Device device : devices()) {
    INFO(device.name());
    Generator generator(1);
    Tensor x = random({65}, DType::float32, 1, device).clone().set_requires_grad();
    const Tensor y = dropout(x, 1, generator);
    CHECK(y.to_vector<float>() == std::vector<float>(65, 0));
    y.backward(random({65}, DType::float32, 2, device));
    CHECK(x.grad().to_vector<float>() == std::vector<float>(65, 0));
  }
}

TEST_CASE("The generator counts draws and goes on from a saved state", "[dropout]") {
  Generator generator(42);
  CHECK(generator.seed() == 42);
  dropout(ones(3), 0.5, generator);
  CHECK(generator.draws() == 1);
  Generator restored;
  restored.set_state(generator.seed(), generator.draws());
  CHECK(same_bits(dropout(ones(1000), 0.5, restored), dropout(ones(1000), 0.5, generator)));

  manual_seed(42);
  CHECK(default_generator().seed() == 42);
  CHECK(default_generator().draws() == 0);
  Generator fresh(42);
  CHECK(same_bits(dropout(ones(1000), 0.5), dropout(ones(1000), 0.5, fresh)));
}

TEST_CASE("dropout says what does not fit, and then draws nothing", "[dropout][errors]") {
  Generator generator(1);
  check_error([&] { dropout({}, 0.5, generator); }, {"dropout", "undefined"});
  check_error([&] { dropout(Tensor::zeros({3}, {.dtype = DType::int32}), 0.5, generator); },
              {"dropout", "int32"});
  for (const double p : {-0.1, 1.01, std::nan("")})
    check_error([&] { dropout(ones(3), p, generator); }, {"dropout", "p = ", "probability"});
  CHECK(generator.draws() == 0);
}

}  // namespace
}  // namespace kg
