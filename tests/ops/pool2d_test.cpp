#include "cases/pool2d.h"

#include "reference/pool2d.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using kernels::Pool2dProblem;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

double tolerance_of(DType dtype) { return dtype == DType::float32 ? 2e-6 : 1e-12; }

PoolOptions options_of(const Pool2dProblem& p, bool count_include_pad = true) {
  return {.stride = {p.stride_h, p.stride_w},
          .padding = {p.padding_h, p.padding_w},
          .count_include_pad = count_include_pad};
}

Function max_pool(const Pool2dProblem& p) {
  return [p](const std::vector<Tensor>& t) { return max_pool2d(t[0], {p.k_h, p.k_w}, options_of(p)); };
}

Function avg_pool(const Pool2dProblem& p, bool count_include_pad) {
  return [=](const std::vector<Tensor>& t) {
    return avg_pool2d(t[0], {p.k_h, p.k_w}, options_of(p, count_include_pad));
  };
}

Function global_avg_pool() {
  return [](const std::vector<Tensor>& t) { return global_avg_pool2d(t[0]); };
}

Shape shape_of(const Pool2dProblem& p) { return {p.planes, 1, p.h, p.w}; }

/// The random gradient that testing::run() starts from.
std::vector<double> gradient_for(const Tensor& output) {
  return to_doubles(random(output.shape(), output.dtype(), 99));
}

void check(const Run& actual, const reference::Pooled& expected) {
  const double tolerance = tolerance_of(actual.output.dtype());
  INFO(name_of(actual.output.dtype()));
  CHECK(difference(actual.output, expected.output, tolerance) == "");
  CHECK(difference(actual.gradients[0], expected.input_gradient, tolerance) == "");
}

TEST_CASE("max_pool2d and its gradient agree with their formulas", "[max_pool2d]") {
  for_each_case(cases::pool2d, [](Device device, const Pool2dProblem& p) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor x = distinct(shape_of(p), dtype, 1, device);
      const Run actual = run(max_pool(p), requiring({x}));
      check(actual, reference::max_pool2d(p, to_doubles(x), gradient_for(actual.output)));
    }
  });
}

TEST_CASE("avg_pool2d and its gradient agree with their formulas", "[avg_pool2d]") {
  for_each_case(cases::pool2d, [](Device device, const Pool2dProblem& p) {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const bool count_include_pad : {false, true}) {
        const Tensor x = random(shape_of(p), dtype, 1, device);
        const Run actual = run(avg_pool(p, count_include_pad), requiring({x}));
        check(actual,
              reference::avg_pool2d(p, count_include_pad, to_doubles(x), gradient_for(actual.output)));
      }
  });
}

TEST_CASE("global_avg_pool2d and its gradient agree with their formulas", "[global_avg_pool2d]") {
  for_each_case(cases::pool2d, [](Device device, Pool2dProblem p) {
    p.k_h = p.stride_h = p.h, p.k_w = p.stride_w = p.w, p.padding_h = p.padding_w = 0;
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor x = random(shape_of(p), dtype, 1, device);
      const Run actual = run(global_avg_pool(), requiring({x}));
      check(actual, reference::avg_pool2d(p, true, to_doubles(x), gradient_for(actual.output)));
    }
  });
}

TEST_CASE("pooling passes the gradient check", "[max_pool2d][avg_pool2d][global_avg_pool2d][gradcheck]") {
  for_each_case(cases::pool2d, [](Device device, const Pool2dProblem& p) {
    const bool small = p.planes * p.h * p.w <= 1000;
    const auto check = [&](const Function& function, const Tensor& x) {
      small ? check_gradients(function, {x}) : check_gradients_along_directions(function, {x});
    };
    check(max_pool(p), distinct(shape_of(p), DType::float64, 1, device));
    check(avg_pool(p, true), random(shape_of(p), DType::float64, 1, device));
    check(avg_pool(p, false), random(shape_of(p), DType::float64, 1, device));
    check(global_avg_pool(), random(shape_of(p), DType::float64, 1, device));
  });
}

TEST_CASE("A stride of 0 is the kernel's size", "[max_pool2d][avg_pool2d]") {
  const Tensor x = random({2, 3, 9, 11}, DType::float32, 1);
  CHECK(same_bits(max_pool2d(x, {2, 3}), max_pool2d(x, {2, 3}, {.stride = {2, 3}})));
  CHECK(same_bits(avg_pool2d(x, {2, 3}), avg_pool2d(x, {2, 3}, {.stride = {2, 3}})));
}

TEST_CASE("Batch and channels are pooled apart", "[max_pool2d][avg_pool2d][global_avg_pool2d]") {
  const Tensor x = random({2, 3, 4, 4}, DType::float32, 1);
  const Tensor planes = x.reshape({6, 1, 4, 4});
  CHECK(max_pool2d(x, 2).shape() == Shape{2, 3, 2, 2});
  CHECK(same_bits(max_pool2d(x, 2).reshape({6, 1, 2, 2}), max_pool2d(planes, 2)));
  CHECK(same_bits(avg_pool2d(x, 2).reshape({6, 1, 2, 2}), avg_pool2d(planes, 2)));
  CHECK(same_bits(global_avg_pool2d(x).reshape({6, 1, 1, 1}), global_avg_pool2d(planes)));
}

TEST_CASE("The gradient of max_pool2d goes to the first of equal elements", "[max_pool2d]") {
  Tensor x = Tensor::zeros({1, 1, 4, 5}).set_requires_grad();
  max_pool2d(x, 3, {.stride = 1}).backward(Tensor::ones({1, 1, 2, 3}));
  CHECK(x.grad().to_vector<float>() ==
        std::vector<float>{1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
}

TEST_CASE("max_pool2d hands NaN on, and the gradient to the first NaN", "[max_pool2d]") {
  const std::int64_t first = GENERATE(0, 1, 2, 3);
  std::vector<float> values = {5, 7, 9, 8};
  values[static_cast<std::size_t>(first)] = nan;
  if (first == 1) values[3] = nan;
  Tensor x = Tensor::from(values, {1, 1, 2, 2}).set_requires_grad();
  const Tensor y = max_pool2d(x, 2);
  CHECK(std::isnan(y.item()));
  y.backward();
  for (std::int64_t i = 0; i < 4; ++i) CHECK(x.grad().data<float>()[i] == (i == first ? 1 : 0));
}

TEST_CASE("max_pool2d hands NaN on from every place to exactly the windows that hold it", "[max_pool2d]") {
  for (const Pool2dProblem& p : cases::pool2d) {
    if (p.h * p.w > 100) continue;
    INFO(describe(p));
    for (std::int64_t bad = 0; bad < p.h * p.w; ++bad) {
      Tensor x = random(shape_of(p), DType::float32, 1);
      x.data<float>()[bad] = nan;
      const Tensor y = max_pool2d(x, {p.k_h, p.k_w}, options_of(p));
      std::vector<bool> expected(static_cast<std::size_t>(y.numel()));
      reference::for_pool2d_pairs(p, [&](std::int64_t out, std::int64_t in) {
        if (in == bad) expected[static_cast<std::size_t>(out)] = true;
      });
      std::vector<bool> actual;
      for (const float value : y.span<float>()) actual.push_back(std::isnan(value));
      CHECK(actual == expected);
    }
  }
}

TEST_CASE("max_pool2d: padding never wins, not even against minus infinity", "[max_pool2d]") {
  const float lowest = -std::numeric_limits<float>::infinity();
  Tensor x = Tensor::full({1, 1, 3, 3}, lowest).set_requires_grad();
  const Tensor y = max_pool2d(x, 3, {.stride = 2, .padding = 1});
  CHECK(y.to_vector<float>() == std::vector<float>(4, lowest));
  y.backward(Tensor::ones({1, 1, 2, 2}));
  CHECK(x.grad().to_vector<float>() == std::vector<float>{1, 1, 0, 1, 1, 0, 0, 0, 0});
}

TEST_CASE("Pooling an empty batch gives an empty batch", "[max_pool2d][avg_pool2d][global_avg_pool2d]") {
  const Tensor x = Tensor::zeros({0, 3, 4, 4});
  CHECK(max_pool2d(x, 2).shape() == Shape{0, 3, 2, 2});
  CHECK(avg_pool2d(x, 2).shape() == Shape{0, 3, 2, 2});
  CHECK(global_avg_pool2d(x).shape() == Shape{0, 3, 1, 1});
}

using Pool = Tensor (*)(const Tensor&, Pair, const PoolOptions&);

TEST_CASE("max_pool2d and avg_pool2d say what does not fit", "[max_pool2d][avg_pool2d][errors]") {
  const auto [name, pool] =
      GENERATE(table<const char*, Pool>({{"max_pool2d", max_pool2d}, {"avg_pool2d", avg_pool2d}}));
  const char* const op = name;
  const Pool function = pool;
  const Tensor x = random({1, 2, 5, 6}, DType::float32);
  check_error([&] { function({}, 2, {}); }, {op, "input", "undefined"});
  check_error([&] { function(Tensor::zeros({1, 2, 5, 6}, {.dtype = DType::int32}), 2, {}); }, {op, "int32"});
  check_error([&] { function(x.reshape({2, 5, 6}), 2, {}); }, {op, "[2, 5, 6]", "[n, c, h, w]"});
  check_error([&] { function(x, {0, 2}, {}); }, {op, "kernel"});
  check_error([&] { function(x, {2, -1}, {}); }, {op, "kernel"});
  check_error([&] { function(x, 2, {.stride = {-1, 1}}); }, {op, "stride"});
  check_error([&] { function(x, 2, {.padding = {0, -1}}); }, {op, "padding [0, -1]"});
  check_error([&] { function(x, 3, {.padding = {2, 1}}); }, {op, "padding [2, 1]", "half the kernel [3, 3]"});
  check_error([&] { function(x, {6, 1}, {}); }, {op, "[1, 2, 5, 6]", "too small", "[6, 1]"});
  check_error([&] { function(x, {1, 7}, {}); }, {op, "too small", "[1, 7]"});
  // Padding alone is no image: a window would hold nothing.
  check_error([&] { function(Tensor::zeros({1, 1, 0, 5}), 2, {.padding = 1}); }, {op, "[1, 1, 0, 5]"});
  check_error([&] { function(Tensor::zeros({1, 1, 5, 0}), 2, {.padding = 1}); }, {op, "[1, 1, 5, 0]"});
}

TEST_CASE("global_avg_pool2d says what does not fit", "[global_avg_pool2d][errors]") {
  check_error([] { global_avg_pool2d({}); }, {"global_avg_pool2d", "undefined"});
  check_error(
      [] {
        global_avg_pool2d(Tensor::zeros({1, 1, 2, 2}, {.dtype = DType::uint8}));
      },
      {"global_avg_pool2d", "uint8"});
  check_error(
      [] {
        global_avg_pool2d(Tensor::zeros({2, 3}));
      },
      {"global_avg_pool2d", "[2, 3]", "[n, c, h, w]"});
  check_error(
      [] {
        global_avg_pool2d(Tensor::zeros({2, 3, 0, 4}));
      },
      {"global_avg_pool2d", "[2, 3, 0, 4]", "pixel"});
}

}  // namespace
}  // namespace kg
