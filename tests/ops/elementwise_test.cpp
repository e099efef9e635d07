// SPDX-License-Identifier: MIT
#include "cases/elementwise.h"

#include "kernels/elementwise.h"
#include "kernels_on.h"
#include "ops/in_place.h"
#include "reference/elementwise.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using cases::Operands;

using Binary = Tensor (*)(const Tensor&, const Tensor&);
const Binary add_function = add, mul_function = mul;

Function function_of(Binary op) {
  return [op](const std::vector<Tensor>& t) { return op(t[0], t[1]); };
}

reference::Values expected_of(const Operands& p, Binary op, const Tensor& a, const Tensor& b) {
  reference::Values expected(reference::broadcast_shape(p.a, p.b));
  const std::vector<double> x = to_doubles(a), y = to_doubles(b);
  for (std::size_t i = 0; i < expected.sum.size(); ++i) {
    const std::int64_t index = static_cast<std::int64_t>(i);
    const double u = x[static_cast<std::size_t>(reference::broadcast_index(index, expected.shape, p.a))];
    const double v = y[static_cast<std::size_t>(reference::broadcast_index(index, expected.shape, p.b))];
    if (op == mul_function) {
      expected.add(index, u * v);
    } else {
      expected.add(index, u);
      expected.add(index, v);
    }
  }
  return expected;
}

TEST_CASE("add and mul agree with their formulas, broadcast as NumPy does", "[elementwise]") {
  const Binary op = GENERATE(add_function, mul_function);
  const auto check = [op](Device device, const Operands& p) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor a = random(p.a, dtype, 1, device), b = random(p.b, dtype, 2, device);
      const double tolerance = dtype == DType::float32 ? 1e-7 : 1e-15;
      CHECK(difference(op(a, b), expected_of(p, op, a, b), tolerance) == "");
      CHECK(difference(op(b, a), expected_of(p, op, a, b), tolerance) == "");
    }
  };
  for_each_case(cases::elementwise, check);
  for_each_case(cases::elementwise_large, check);
}

TEST_CASE("add and mul pass the gradient check", "[elementwise][gradcheck]") {
  const Binary op = GENERATE(add_function, mul_function);
  for_each_case(cases::elementwise, [op](Device device, const Operands& p) {
    const std::vector<Tensor> inputs = {random(p.a, DType::float64, 1, device),
                                        random(p.b, DType::float64, 2, device)};
    check_gradients(function_of(op), inputs);
    check_gradients(function_of(op), {inputs[1], inputs[0]});
    check_gradient_subsets(function_of(op), inputs);
    check_float32_gradients(function_of(op), inputs, 1e-6);
  });
  for_each_case(cases::elementwise_large, [op](Device device, const Operands& p) {
    check_gradients_along_directions(
        function_of(op), {random(p.a, DType::float64, 1, device), random(p.b, DType::float64, 2, device)});
  });
}

TEST_CASE("mul by a number scales, forward and backward", "[elementwise][gradcheck]") {
  const double factor = GENERATE(0.0, -2.5, 1e10);
  const Function function = [factor](const std::vector<Tensor>& t) { return t[0] * factor; };
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = random({33, 7}, DType::float64, 0, device);
    const Run actual = run(function, requiring({x}));
    const std::vector<double> values = to_doubles(x),
                              gradient = to_doubles(random({33, 7}, DType::float64, 99)),
                              output = to_doubles(actual.output),
                              input_gradient = to_doubles(actual.gradients[0]);
    for (std::size_t i = 0; i < values.size(); ++i) {
      CHECK(output[i] == factor * values[i]);
      CHECK(input_gradient[i] == factor * gradient[i]);
    }
    CHECK(same_bits(factor * x, x * factor));
  }
}

TEMPLATE_TEST_CASE("fill, unary in place and accumulate reach every element and no other", "[elementwise]",
                   float, double) {
  using T = TestType;
  for_each_case(cases::elementwise_counts, [](Device device, const cases::Count& p) {
    const Shape shape = {p.count};
    const TensorOptions options = {.dtype = dtype_of<T>(), .device = device};
    const std::vector<T> ones(static_cast<std::size_t>(p.count), T(1));
    Tensor x = Tensor::full(shape, 0.1, options);
    CHECK(x.to_vector<T>() == std::vector<T>(ones.size(), static_cast<T>(0.1)));

    x = random(shape, dtype_of<T>(), 1, device);
    std::vector<T> expected = x.to_vector<T>();
    // In place.
    kernels_on<kernels::ElementwiseKernels, T>(device).unary(kernels::MultiplyBy{0.3}, p.count,
                                                             x.device_data<T>(), x.device_data<T>());
    for (T& value : expected) value = static_cast<T>(0.3) * value;
    CHECK(x.to_vector<T>() == expected);

    const Tensor addend = Tensor::from(ones, shape, device);
    accumulate(addend, x);
    for (T& value : expected) value += T(1);
    CHECK(x.to_vector<T>() == expected);
    CHECK(addend.to_vector<T>() == ones);
  });
}

TEST_CASE("add and mul hand NaN on, from either operand, to where it belongs", "[elementwise]") {
  const Binary op = GENERATE(add_function, mul_function);
  for (const Device device : devices()) {
    INFO(device.name());
    std::vector<float> values(33 * 7, 1.0f), row(7, 0.0f);
    values[5 * 7 + 3] = row[4] = std::numeric_limits<float>::quiet_NaN();
    const Tensor x = Tensor::from(values, {33, 7}, device), y = Tensor::from(row, {7}, device);
    const std::vector<float> output = op(x, y).to_vector<float>();
    for (std::size_t i = 0; i < output.size(); ++i)
      CHECK(std::isnan(output[i]) == (i == 5 * 7 + 3 || i % 7 == 4));
  }
}

TEST_CASE("Operands of extent 0 give nothing, and gradients of zero", "[elementwise]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor row = random({1, 3}, DType::float64, 0, device).set_requires_grad();
    const TensorOptions options = {.dtype = DType::float64, .device = device};
    const Tensor nothing = mul(row, Tensor::zeros({0, 3}, options));
    CHECK(nothing.shape() == Shape{0, 3});
    CHECK(mul(row, Tensor::zeros({2, 0, 1}, options)).shape() == Shape{2, 0, 3});
    CHECK((nothing * 2.0).shape() == Shape{0, 3});
    sum(nothing).backward();
    CHECK(to_doubles(row.grad()) == std::vector<double>(3, 0));
  }
}

TEST_CASE("add and mul say what does not fit", "[elementwise][errors]") {
  const auto [name, op] =
      GENERATE(table<const char*, Binary>({{"add", add_function}, {"mul", mul_function}}));
  const char* const op_name = name;
  const Binary function = op;
  const Tensor x = random({2, 3});
  check_error([&] { function({}, x); }, {op_name, ": a is undefined"});
  check_error([&] { function(x, {}); }, {op_name, ": b is undefined"});
  check_error([&] { function(x, random({2, 3}, DType::float32)); }, {op_name, ": b is float32", "float64"});
  check_error([&] { function(Tensor::zeros({1}, {.dtype = DType::int64}), x); }, {op_name, ": a is int64"});
  check_error([&] { function(x, random({2, 4})); }, {op_name, "[2, 3]", "[2, 4]", "broadcast"});
  check_error([&] { function(x, random({2})); }, {op_name, "[2, 3]", "[2]", "broadcast"});
  check_error([&] { function(random({3, 1, 1, 1, 1, 1, 1, 1, 1}), x); }, {op_name, "at most 8 dimensions"});
  check_error([] { mul(Tensor(), 2.0); }, {"mul", "undefined"});
  check_error([] { mul(Tensor::zeros({1}, {.dtype = DType::uint8}), 2.0); }, {"mul", "uint8"});
}

}  // namespace
}  // namespace kg
