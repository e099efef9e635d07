// SPDX-License-Identifier: MIT
#include "cases/relu.h"

#include "support.h"

namespace kg {
namespace {

using namespace testing;
using cases::Count;

Function function() {
  return [](const std::vector<Tensor>& t) { return relu(t[0]); };
}

TEST_CASE("relu and its gradient agree with their formulas", "[relu]") {
  for_each_case(cases::relu, [](Device device, const Count& p) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor x = distinct({p.count}, dtype, 1, device);
      const Run actual = run(function(), requiring({x}));
      reference::Values output({p.count}), gradient({p.count});
      const std::vector<double> values = to_doubles(x), incoming = to_doubles(random({p.count}, dtype, 99));
      for (std::size_t i = 0; i < values.size(); ++i) {
        output.sum[i] = std::max(values[i], 0.0);
        gradient.sum[i] = values[i] > 0 ? incoming[i] : 0;
      }
      CHECK(difference(actual.output, output, 0) == "");
      CHECK(difference(actual.gradients[0], gradient, 0) == "");
    }
  });
}

TEST_CASE("relu passes the gradient check", "[relu][gradcheck]") {
  for_each_case(cases::relu, [](Device device, const Count& p) {
    const Tensor x = distinct({p.count}, DType::float64, 1, device);
    p.count <= 1000 ? check_gradients(function(), {x}) : check_gradients_along_directions(function(), {x});
  });
}

TEST_CASE("relu has gradient 0 at 0, of either sign", "[relu]") {
  for (const Device device : devices()) {
    INFO(device.name());
    Tensor x = Tensor::from(std::vector<float>{0.0f, -0.0f}, {2}, device).set_requires_grad();
    relu(x).backward(Tensor::ones({2}, {.device = device}));
    CHECK(x.grad().to_vector<float>() == std::vector<float>{0, 0});
  }
}

TEST_CASE("relu hands NaN on, from every place", "[relu]") {
  for (const Device device : devices())
    for (std::size_t bad = 0; bad < 67; ++bad) {
      INFO(device.name());
      Tensor x = random({67}, DType::float32);
      x.data<float>()[bad] = std::numeric_limits<float>::quiet_NaN();
      const std::vector<float> y = relu(x.to(device)).to_vector<float>();
      for (std::size_t i = 0; i < 67; ++i) CHECK(std::isnan(y[i]) == (i == bad));
    }
}

TEST_CASE("relu's gradient passes where the input is NaN, and nowhere because the gradient is", "[relu]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const Device device : devices())
    for (std::size_t bad = 0; bad < 67; ++bad) {
      INFO(device.name());
      const auto gradient = [&](float sign, float before, float incoming) {
        std::vector<float> values(67, sign), gradients(67, 1);
        values[bad] = before;
        gradients[bad] = incoming;
        Tensor x = Tensor::from(values, {67}, device).set_requires_grad();
        relu(x).backward(Tensor::from(gradients, {67}, device));
        return x.grad().to_vector<float>();
      };
      std::vector<float> expected(67, 0);
      CHECK(gradient(-1, -1, nan) == expected);
      expected[bad] = 5;
      CHECK(gradient(-1, nan, 5) == expected);
      const std::vector<float> passed = gradient(1, 1, nan);
      for (std::size_t i = 0; i < 67; ++i) CHECK(std::isnan(passed[i]) == (i == bad));
    }
}

TEST_CASE("relu of nothing is nothing", "[relu]") {
  for (const Device device : devices()) {
    INFO(device.name());
    Tensor x = Tensor::zeros({0, 3}, {.device = device}).set_requires_grad();
    const Tensor y = relu(x);
    CHECK(y.shape() == Shape{0, 3});
    y.backward(Tensor::zeros({0, 3}, {.device = device}));
    CHECK(x.grad().shape() == Shape{0, 3});
  }
}

TEST_CASE("relu says what does not fit", "[relu][errors]") {
  check_error([] { relu({}); }, {"relu", "undefined"});
  check_error([] { relu(Tensor::zeros({3}, {.dtype = DType::uint8})); },
              {"relu", "uint8", "float32 or float64"});
}

}  // namespace
}  // namespace kg
