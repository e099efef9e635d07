// SPDX-License-Identifier: MIT
#include "kernels/elementwise_functions.h"

#include <set>

#include "cases/elementwise.h"
#include "reference/elementwise.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

/// Between the arguments that the case is for, no two equal.
Tensor arguments(const cases::Unary& c, std::int64_t count, DType dtype, Device device) {
  const std::vector<double> numbers = to_doubles(random({count}, DType::float64, 1));
  std::vector<double> values;
  for (const double number : numbers) values.push_back(c.from + (number + 1) / 2 * (c.to - c.from));
  return Tensor::from(values, {count}).to(dtype).to(device);
}

template <class... Functions>
std::set<std::string> names_of(const std::variant<Functions...>*) {
  return {Functions::name...};
}

TEST_CASE("Every element-wise function has a case", "[elementwise]") {
  std::set<std::string> unary, binary;
  for (const cases::Unary& c : cases::unary) unary.insert(c.name);
  for (const cases::Binary& c : cases::binary) binary.insert(c.name);
  for (const std::string& name : names_of(static_cast<const kernels::UnaryFunction*>(nullptr))) {
    INFO(name);
    CHECK(unary.contains(name));
  }
  CHECK(names_of(static_cast<const kernels::BinaryFunction*>(nullptr)) == binary);
}

TEST_CASE("Functions of one element agree with their formulas", "[elementwise]") {
  for (const cases::Unary& c : cases::unary)
    for_each_case(cases::elementwise_counts, [&](Device device, const cases::Count& p) {
      INFO(c.name);
      for (const DType dtype : {DType::float32, DType::float64}) {
        const Tensor x = arguments(c, p.count, dtype, device);
        const std::vector<double> values = to_doubles(x), actual = to_doubles(c.function(x));
        REQUIRE(actual.size() == values.size());
        double worst = 0;
        for (std::size_t i = 0; i < values.size(); ++i)
          worst = std::max(worst, std::abs(actual[i] - c.formula(values[i])) /
                                      (1 + std::abs(values[i]) + std::abs(c.formula(values[i]))));
        CHECK(worst <= (dtype == DType::float32 ? 4e-7 : 1e-15));
      }
    });
}

TEST_CASE("Functions of one element pass the gradient check", "[elementwise][gradcheck]") {
  for (const cases::Unary& c : cases::unary)
    for (const Device device : devices()) {
      INFO(c.name << " on " << device.name());
      const Function function = [&](const std::vector<Tensor>& t) { return c.function(t[0]); };
      const Tensor x = arguments(c, 67, DType::float64, device);
      check_gradients(function, {x});
      check_float32_gradients(function, {x}, 1e-6);
    }
}

TEST_CASE("Functions of two elements agree with their formulas", "[elementwise]") {
  for (const cases::Binary& c : cases::binary)
    for_each_case(cases::elementwise, [&](Device device, const cases::Operands& p) {
      INFO(c.name);
      for (const DType dtype : {DType::float32, DType::float64}) {
        const Tensor a = random(p.a, dtype, 1, device), b = random(p.b, dtype, 2, device) + 2.0;
        reference::Values expected(reference::broadcast_shape(p.a, p.b));
        const std::vector<double> x = to_doubles(a), y = to_doubles(b);
        for (std::size_t i = 0; i < expected.sum.size(); ++i) {
          const auto at = [&](const Shape& shape) {
            return static_cast<std::size_t>(
                reference::broadcast_index(static_cast<std::int64_t>(i), expected.shape, shape));
          };
          expected.add(static_cast<std::int64_t>(i), c.formula(x[at(p.a)], y[at(p.b)]));
        }
        CHECK(difference(c.function(a, b), expected, dtype == DType::float32 ? 2e-7 : 1e-15) == "");
      }
    });
}

TEST_CASE("Functions of two elements pass the gradient check", "[elementwise][gradcheck]") {
  for (const cases::Binary& c : cases::binary)
    for_each_case(cases::elementwise, [&](Device device, const cases::Operands& p) {
      INFO(c.name);
      const Function function = [&](const std::vector<Tensor>& t) { return c.function(t[0], t[1]); };
      // Apart by more than the step of the difference quotients, so that nothing changes sides.
      const std::vector<Tensor> inputs = {random(p.a, DType::float64, 1, device) * 3.0,
                                          random(p.b, DType::float64, 2, device) * 0.4 + 2.0};
      check_gradients(function, inputs);
      check_gradient_subsets(function, inputs);
    });
}

TEST_CASE("Equal operands of maximum and minimum share the gradient, and NaN takes it all", "[elementwise]") {
  for (const auto function : {maximum, minimum})
    for (const Device device : devices()) {
      Tensor a = Tensor::from(std::vector<double>{1, nan, 2, -infinity}, {4}, device).set_requires_grad();
      Tensor b = Tensor::from(std::vector<double>{1, 2, nan, -infinity}, {4}, device).set_requires_grad();
      const Tensor y = function(a, b);
      const std::vector<double> values = to_doubles(y);
      CHECK(values[0] == 1);
      CHECK((std::isnan(values[1]) && std::isnan(values[2])));
      y.backward(Tensor::full({4}, 3, y.options()));
      CHECK(to_doubles(a.grad()) == std::vector<double>{1.5, 3, 3, 1.5});
      CHECK(to_doubles(b.grad()) == std::vector<double>{1.5, 3, 3, 1.5});
    }
}

TEST_CASE("Both devices compute the same, whatever the element", "[elementwise]") {
  const std::vector<double> special = {0., -0., 1,    -1,     3,        -3,        6,  20,
                                       88, 800, -800, 1e-300, infinity, -infinity, nan};
  for (const cases::Unary& c : cases::unary)
    for (const DType dtype : {DType::float32, DType::float64}) {
      INFO(c.name);
      std::vector<Run> runs;
      for (const Device device : devices())
        runs.push_back(run([&](const std::vector<Tensor>& t) { return c.function(t[0]); },
                           requiring({Tensor::from(special, {15}).to(dtype).to(device)})));
      for (const Run& other : runs) {
        CHECK(same_bits(other.output.to(Device::cpu()), runs[0].output));
        CHECK(same_bits(other.gradients[0].to(Device::cpu()), runs[0].gradients[0]));
      }
    }
}

TEST_CASE("Element-wise functions refuse integers and name themselves", "[elementwise][errors]") {
  const Tensor integers = Tensor::zeros({3}, {.dtype = DType::int64});
  for (const cases::Unary& c : cases::unary) {
    const std::string name = c.name[0] == 'r' && std::string(c.name) != "relu" ? c.name + 1 : c.name;
    check_error([&] { c.function(integers); }, {name.c_str(), "int64"});
  }
  for (const cases::Binary& c : cases::binary)
    check_error([&] { c.function(integers, integers); }, {c.name, "int64"});
}

TEST_CASE("A backward pass refuses an operand that was overwritten", "[elementwise][saved]") {
  const auto refuses = [](const Tensor& y, Tensor& changed) {
    changed.copy_from(Tensor::zeros({3}, y.options()));
    check_error([&] { y.backward(Tensor::ones({3}, y.options())); }, {"version"});
  };
  const Tensor x = random({3}).set_requires_grad();
  Tensor z = x * 1.0;
  refuses(silu(z), z);
  z = x * 1.0;
  refuses(div(x, z), z);
  z = sigmoid(x);
  refuses(z, z);
}

}  // namespace
}  // namespace kg
