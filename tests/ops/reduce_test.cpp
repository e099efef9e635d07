// SPDX-License-Identifier: MIT
#include "cases/reduce.h"

#include "reference/elementwise.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using cases::Reduction;

using Reduce = Tensor (*)(const Tensor&, const ReduceOptions&);

/// The shape with 1 where it is reduced.
Shape keepdim_shape(const Reduction& p) {
  Shape shape = p.shape;
  if (p.dims.empty()) std::ranges::fill(shape, 1);
  for (const int dim : p.dims) shape[static_cast<std::size_t>(dim < 0 ? dim + int(shape.size()) : dim)] = 1;
  return shape;
}

Shape squeezed_shape(const Reduction& p) {
  Shape shape;
  for (std::size_t d = 0; d < p.shape.size(); ++d) {
    const bool reduced = p.dims.empty() || std::ranges::any_of(p.dims, [&](int dim) {
                           return d == static_cast<std::size_t>(dim < 0 ? dim + int(p.shape.size()) : dim);
                         });
    if (!reduced) shape.push_back(p.shape[d]);
  }
  return shape;
}

reference::Values expected_of(const Reduction& p, const Tensor& x, bool divide) {
  const Shape kept = keepdim_shape(p);
  reference::Values expected(kept);
  const double scale = divide ? double(numel(kept)) / double(numel(p.shape)) : 1;
  const std::vector<double> values = to_doubles(x);
  for (std::size_t i = 0; i < values.size(); ++i)
    expected.add(reference::broadcast_index(static_cast<std::int64_t>(i), p.shape, kept), scale * values[i]);
  return expected;
}

TEST_CASE("sum and mean agree with their formulas", "[reduce]") {
  const auto [op, divide] = GENERATE(table<Reduce, bool>({{sum, false}, {mean, true}}));
  const auto check = [op = op, divide = divide](Device device, const Reduction& p) {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const bool keepdim : {false, true}) {
        const Tensor x = random(p.shape, dtype, 1, device);
        reference::Values expected = expected_of(p, x, divide);
        if (!keepdim) expected.shape = squeezed_shape(p);
        CHECK(difference(op(x, {.dims = p.dims, .keepdim = keepdim}), expected,
                         dtype == DType::float32 ? 1e-7 : 1e-14) == "");
      }
  };
  for_each_case(cases::reduce, check);
  for_each_case(cases::reduce_large, check);
}

TEST_CASE("sum and mean over every choice of dimensions agree with their formulas", "[reduce]") {
  const auto [op, divide] = GENERATE(table<Reduce, bool>({{sum, false}, {mean, true}}));
  const Shape shape = {3, 2, 5, 4};
  for (const Device device : devices())
    for (unsigned chosen = 1; chosen < 16; ++chosen)
      for (const bool keepdim : {false, true}) {
        Reduction p{shape, {}};
        for (int dim = 0; dim < 4; ++dim)
          if (chosen >> dim & 1) p.dims.push_back(chosen % 3 ? dim : dim - 4);
        INFO(device.name() << ": " << describe(p) << (keepdim ? ", keepdim" : ""));
        const Tensor x = random(shape, DType::float64, 1, device);
        reference::Values expected = expected_of(p, x, divide);
        if (!keepdim) expected.shape = squeezed_shape(p);
        const Run actual =
            run([&, op = op](const auto& t) { return op(t[0], {.dims = p.dims, .keepdim = keepdim}); },
                requiring({x}));
        CHECK(difference(actual.output, expected, 1e-15) == "");
        const std::vector<double> gradient = to_doubles(random(expected.shape, DType::float64, 99)),
                                  spread = to_doubles(actual.gradients[0]);
        const double scale = divide ? double(gradient.size()) / double(numel(shape)) : 1;
        for (std::size_t i = 0; i < spread.size(); ++i) {
          const std::int64_t from =
              reference::broadcast_index(static_cast<std::int64_t>(i), shape, keepdim_shape(p));
          CHECK(std::abs(spread[i] - scale * gradient[static_cast<std::size_t>(from)]) <= 1e-15);
        }
      }
}

TEST_CASE("sum and mean pass the gradient check", "[reduce][gradcheck]") {
  const Reduce op = GENERATE(Reduce(sum), Reduce(mean));
  const bool keepdim = GENERATE(false, true);
  const auto function_of = [=](const Reduction& p) -> Function {
    return [=](const std::vector<Tensor>& t) { return op(t[0], {.dims = p.dims, .keepdim = keepdim}); };
  };
  for_each_case(cases::reduce, [&](Device device, const Reduction& p) {
    const Tensor x = random(p.shape, DType::float64, 1, device);
    numel(p.shape) <= 200 ? check_gradients(function_of(p), {x})
                          : check_gradients_along_directions(function_of(p), {x});
    check_float32_gradients(function_of(p), {x}, 1e-6);
  });
}

TEST_CASE("sum of nothing is 0, mean of nothing is NaN", "[reduce]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = Tensor::zeros({0, 3}, {.device = device});
    CHECK(sum(x).item() == 0);
    CHECK(sum(x, {.dims = {0}}).to_vector<float>() == std::vector<float>(3, 0));
    CHECK(sum(x, {.dims = {1}}).shape() == Shape{0});
    CHECK(std::isnan(mean(x).item()));
    const Tensor y = Tensor::zeros({3, 0}, {.device = device});
    CHECK(sum(y, {.dims = {1}}).to_vector<float>() == std::vector<float>(3, 0));
    CHECK(sum(y, {.dims = {0}}).shape() == Shape{0});
  }
}

TEST_CASE("sum hands NaN on to exactly the sums that hold it", "[reduce]") {
  for_each_case(cases::reduce, [](Device device, const Reduction& p) {
    std::vector<float> values = random(p.shape, DType::float32).to_vector<float>();
    const std::int64_t bad = numel(p.shape) * 2 / 3;
    values[static_cast<std::size_t>(bad)] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> sums =
        sum(Tensor::from(values, p.shape, device), {.dims = p.dims}).to_vector<float>();
    const std::int64_t expected = reference::broadcast_index(bad, p.shape, keepdim_shape(p));
    for (std::size_t i = 0; i < sums.size(); ++i)
      CHECK(std::isnan(sums[i]) == (static_cast<std::int64_t>(i) == expected));
  });
}

TEST_CASE("The same sum has the same bits every time", "[reduce]") {
  for_each_case(cases::reduce_large, [](Device device, const Reduction& p) {
    const Tensor x = random(p.shape, DType::float32, 1, device);
    CHECK(same_bits(sum(x, {.dims = p.dims}), sum(x, {.dims = p.dims})));
  });
}

TEST_CASE("sum and mean say what does not fit", "[reduce][errors]") {
  const auto [name, op] = GENERATE(table<const char*, Reduce>({{"sum", sum}, {"mean", mean}}));
  const char* const op_name = name;
  const Reduce function = op;
  check_error([&] { function({}, {}); }, {op_name, "undefined"});
  check_error([&] { function(Tensor::zeros({3}, {.dtype = DType::int64}), {}); }, {op_name, "int64"});
  check_error([&] { function(random({2, 3}), {.dims = {2}}); }, {op_name, "dimension 2", "[2, 3]"});
  check_error([&] { function(random({2, 3}), {.dims = {0, -3}}); }, {op_name, "dimension -3", "[2, 3]"});
  for (const std::vector<int>& dims :
       {std::vector<int>{0, 0}, {0, -2}, {-2, 0}, {1, 0, 0}, {0, 1, -2}, {-2, -2}})
    check_error(
        [&] {
          function(random({2, 3}), {.dims = dims});
        },
        {op_name, "dim 0 appears multiple times", to_string(Shape(dims.begin(), dims.end())).c_str()});
  check_error([&] { function(random({1, 1, 1, 1, 1, 1, 1, 1, 1}), {}); }, {op_name, "at most 8 dimensions"});
}

}  // namespace
}  // namespace kg
