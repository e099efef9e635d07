#include "cases/elementwise.h"

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
      CHECK(difference(op(a, b), expected_of(p, op, a, b), dtype == DType::float32 ? 1e-7 : 1e-15) == "");
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
    check_gradient_subsets(function_of(op), inputs);
    check_float32_gradients(function_of(op), inputs, 1e-6);
  });
  for_each_case(cases::elementwise_large, [op](Device device, const Operands& p) {
    check_gradients_along_directions(
        function_of(op), {random(p.a, DType::float64, 1, device), random(p.b, DType::float64, 2, device)});
  });
}

TEST_CASE("mul by a number scales, forward and backward", "[elementwise][gradcheck]") {
  const Tensor x = random({33, 7});
  const double factor = GENERATE(0.0, -2.5, 1e10);
  const Function function = [factor](const std::vector<Tensor>& t) { return t[0] * factor; };
  const Run actual = run(function, requiring({x}));
  const std::vector<double> values = to_doubles(x),
                            gradient = to_doubles(random({33, 7}, DType::float64, 99));
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(actual.output.data<double>()[i] == factor * values[i]);
    CHECK(actual.gradients[0].data<double>()[i] == factor * gradient[i]);
  }
  CHECK(same_bits(factor * x, x * factor));
}

TEST_CASE("Operands of extent 0 give nothing, and gradients of zero", "[elementwise]") {
  Tensor row = random({1, 3}).set_requires_grad();
  const Tensor nothing = mul(row, Tensor::zeros({0, 3}, {.dtype = DType::float64}));
  CHECK(nothing.shape() == Shape{0, 3});
  sum(nothing).backward();
  CHECK(to_doubles(row.grad()) == std::vector<double>(3, 0));
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
