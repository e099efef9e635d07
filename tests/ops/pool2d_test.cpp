// SPDX-License-Identifier: MIT
#include "cases/pool2d.h"

#include "kernels/avg_pool2d.h"
#include "kernels/max_pool2d.h"
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
  const auto check_problem = [](Device device, const Pool2dProblem& p) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const Tensor x = distinct(shape_of(p), dtype, 1, device);
      const Run actual = run(max_pool(p), requiring({x}));
      check(actual, reference::max_pool2d(p, to_doubles(x), gradient_for(actual.output)));
    }
  };
  for_each_case(cases::pool2d, check_problem);
  for_each_case(cases::pool2d_unequal, check_problem);
}

TEST_CASE("avg_pool2d and its gradient agree with their formulas", "[avg_pool2d]") {
  const auto check_problem = [](Device device, const Pool2dProblem& p) {
    for (const DType dtype : {DType::float32, DType::float64})
      for (const bool count_include_pad : {false, true}) {
        const Tensor x = random(shape_of(p), dtype, 1, device);
        const Run actual = run(avg_pool(p, count_include_pad), requiring({x}));
        check(actual,
              reference::avg_pool2d(p, count_include_pad, to_doubles(x), gradient_for(actual.output)));
      }
  };
  for_each_case(cases::pool2d, check_problem);
  for_each_case(cases::pool2d_unequal, check_problem);
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
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = random({2, 3, 4, 4}, DType::float32, 1, device);
    const Tensor planes = x.reshape({6, 1, 4, 4});
    CHECK(max_pool2d(x, 2).shape() == Shape{2, 3, 2, 2});
    CHECK(same_bits(max_pool2d(x, 2).reshape({6, 1, 2, 2}), max_pool2d(planes, 2)));
    CHECK(same_bits(avg_pool2d(x, 2).reshape({6, 1, 2, 2}), avg_pool2d(planes, 2)));
    CHECK(same_bits(global_avg_pool2d(x).reshape({6, 1, 1, 1}), global_avg_pool2d(planes)));
  }
}

/// A leaf that requires a gradient.
Tensor leaf(const std::vector<float>& values, Shape shape, Device device) {
  return Tensor::from(values, std::move(shape), device).set_requires_grad();
}

Tensor ones_like(const Tensor& x) {
  return Tensor::ones(x.shape(), {.dtype = x.dtype(), .device = x.device()});
}

TEST_CASE("The gradient of max_pool2d goes to the first of equal elements", "[max_pool2d][native]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = leaf(std::vector<float>(20), {1, 1, 4, 5}, device);
    const Tensor y = max_pool2d(x, 3, {.stride = 1});
    y.backward(ones_like(y));
    CHECK(x.grad().to_vector<float>() ==
          std::vector<float>{1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  }
}

TEST_CASE("The gradient of max_pool2d by 2x2 goes to the first of equal elements", "[max_pool2d][native]") {
  for (const Device device : devices()) {
    INFO(device.name());
    // All equal; the last two; the first and the last; the right ones.
    const Tensor x = leaf({3, 3, 1, 2, 7, 5, 1, 4,  //
                           3, 3, 6, 6, 4, 7, 0, 4},
                          {1, 1, 2, 8}, device);
    const Tensor y = max_pool2d(x, 2);
    CHECK(y.to_vector<float>() == std::vector<float>{3, 6, 7, 4});
    y.backward(ones_like(y));
    CHECK(x.grad().to_vector<float>() == std::vector<float>{1, 0, 0, 0, 1, 0, 0, 1,  //
                                                            0, 0, 1, 0, 0, 0, 0, 0});
  }
}

TEST_CASE("max_pool2d hands NaN on, and the gradient to the first NaN", "[max_pool2d][native]") {
  const std::size_t first = GENERATE(0u, 1u, 2u, 3u);
  // 2x2 windows side by side, and windows that overlap.
  const Pool2dProblem p = GENERATE(cases::pool2d[3], cases::pool2d[9]);
  for (const Device device : devices()) {
    INFO(device.name() << ": " << describe(p));
    // The window of the second row and column.
    const auto place = [&](std::size_t i) {
      return static_cast<std::size_t>((p.stride_h + static_cast<std::int64_t>(i / 2)) * p.w + p.stride_w) +
             i % 2;
    };
    std::vector<float> values(static_cast<std::size_t>(p.h * p.w), 5), expected(values.size());
    for (std::size_t i = first; i < 4; ++i) values[place(i)] = nan;
    const Tensor x = leaf(values, {1, 1, p.h, p.w}, device);
    const Tensor y = max_pool2d(x, {p.k_h, p.k_w}, options_of(p));
    const std::size_t window = static_cast<std::size_t>(p.out_w() + 1);
    CHECK(std::isnan(y.to_vector<float>()[window]));
    std::vector<float> gradient(static_cast<std::size_t>(y.numel()));
    gradient[window] = 1;
    y.backward(Tensor::from(gradient, y.shape(), device));
    expected[place(first)] = 1;
    CHECK(x.grad().to_vector<float>() == expected);
  }
}

TEST_CASE("max_pool2d hands NaN on from every place to exactly the windows that hold it", "[max_pool2d]") {
  for_each_case(cases::pool2d, [](Device device, const Pool2dProblem& p) {
    if (p.h * p.w > 100) return;
    const std::vector<float> values = random(shape_of(p), DType::float32, 1).to_vector<float>();
    for (std::int64_t bad = 0; bad < p.h * p.w; ++bad) {
      std::vector<float> with_nan = values;
      with_nan[static_cast<std::size_t>(bad)] = nan;
      const Tensor y = max_pool2d(Tensor::from(with_nan, shape_of(p), device), {p.k_h, p.k_w}, options_of(p));
      std::vector<bool> expected(static_cast<std::size_t>(y.numel()));
      reference::for_pool2d_pairs(p, [&](std::int64_t out, std::int64_t in) {
        if (in == bad) expected[static_cast<std::size_t>(out)] = true;
      });
      std::vector<bool> actual;
      for (const float value : y.to_vector<float>()) actual.push_back(std::isnan(value));
      CHECK(actual == expected);
    }
  });
}

TEST_CASE("avg_pool2d and global_avg_pool2d hand NaN on to exactly the windows that hold it",
          "[avg_pool2d][global_avg_pool2d]") {
  for (const Device device : devices()) {
    INFO(device.name());
    std::vector<float> values = random({3, 1, 7, 7}, DType::float32).to_vector<float>();
    values[49 + 3 * 7 + 4] = nan;
    const Tensor x = Tensor::from(values, {3, 1, 7, 7}, device);
    const std::vector<float> windows = avg_pool2d(x, 3, {.stride = 2}).to_vector<float>(),
                             planes = global_avg_pool2d(x).to_vector<float>();
    for (std::size_t i = 0; i < windows.size(); ++i)
      CHECK(std::isnan(windows[i]) == (i == 9 + 4 || i == 9 + 5));
    for (std::size_t i = 0; i < planes.size(); ++i) CHECK(std::isnan(planes[i]) == (i == 1));
  }
}

TEST_CASE("max_pool2d: padding never wins, not even against minus infinity", "[max_pool2d][native]") {
  const float lowest = -std::numeric_limits<float>::infinity();
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = leaf(std::vector<float>(9, lowest), {1, 1, 3, 3}, device);
    const Tensor y = max_pool2d(x, 3, {.stride = 2, .padding = 1});
    CHECK(y.to_vector<float>() == std::vector<float>(4, lowest));
    y.backward(ones_like(y));
    CHECK(x.grad().to_vector<float>() == std::vector<float>{1, 1, 0, 1, 1, 0, 0, 0, 0});
  }
}

TEST_CASE("Pooling an empty batch gives an empty batch", "[max_pool2d][avg_pool2d][global_avg_pool2d]") {
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = Tensor::zeros({0, 3, 4, 4}, {.device = device}).set_requires_grad();
    const std::vector<std::pair<Tensor, Shape>> pooled = {{max_pool2d(x, 2), {0, 3, 2, 2}},
                                                          {max_pool2d(x, 3), {0, 3, 1, 1}},
                                                          {avg_pool2d(x, 2), {0, 3, 2, 2}},
                                                          {avg_pool2d(x, 4), {0, 3, 1, 1}},
                                                          {global_avg_pool2d(x), {0, 3, 1, 1}}};
    for (const auto& [y, shape] : pooled) {
      CHECK(y.shape() == shape);
      y.backward(ones_like(y));
      CHECK(x.grad().shape() == x.shape());
    }
  }
}

TEST_CASE("Windows far larger than the image and strides far beyond it", "[max_pool2d][avg_pool2d]") {
  constexpr std::int64_t huge = std::int64_t{1} << 30;
  for (const Device device : devices()) {
    INFO(device.name());
    const Tensor x = leaf({1, 2, 3, 4, 5, 6}, {1, 1, 2, 3}, device);
    const Tensor largest =
        max_pool2d(x, {huge, huge}, {.stride = {huge, huge}, .padding = {huge / 2, huge / 2}});
    CHECK(largest.to_vector<float>() == std::vector<float>{6});
    largest.backward();
    CHECK(x.grad().to_vector<float>() == std::vector<float>{0, 0, 0, 0, 0, 1});
    const Tensor mean =
        avg_pool2d(x, {huge, 3}, {.stride = {huge, 1}, .padding = {huge / 2, 0}, .count_include_pad = false});
    CHECK(mean.to_vector<float>() == std::vector<float>{3.5});
  }
}

TEST_CASE("Images of more pixels than 32 bits can number are refused", "[max_pool2d][avg_pool2d][errors]") {
  if (!cuda_is_available()) return;
  const Pool2dProblem p{
      .planes = 1, .h = 1 << 15, .w = 1 << 15, .k_h = 3, .k_w = 3, .stride_h = 1, .stride_w = 1};
  const auto& max = *kernels::cuda::tables<kernels::MaxPool2dKernels>().of<float>();
  const auto& avg = *kernels::cuda::tables<kernels::AvgPool2dKernels>().of<float>();
  check_error([&] { max.forward(p, nullptr, nullptr, nullptr); }, {"max_pool2d", "32768x32768", "2^30"});
  check_error([&] { max.backward(p, nullptr, nullptr, nullptr, nullptr, nullptr); },
              {"max_pool2d", "32768x32768"});
  check_error([&] { avg.forward(p, true, nullptr, nullptr); }, {"avg_pool2d", "32768x32768"});
  check_error([&] { avg.backward(p, true, nullptr, nullptr); }, {"avg_pool2d", "32768x32768"});
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
