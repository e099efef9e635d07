// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <fstream>
#include <limits>
#include <optional>

#include "reference/conv2d.h"
#include "support.h"

/// Extents at which sizes are computed wrongly: every operation gets tensors without elements whose other
/// extents no 64 bits can multiply, and options and sizes at their limits. It answers with the right result
/// or with an error, and computes nothing that overflows (the preset asan looks), loops over nothing and
/// keeps no memory beyond that of its arguments and results.
namespace kg {
namespace {

using namespace testing;

constexpr std::int64_t huge = std::int64_t{1} << 40, most = std::numeric_limits<std::int64_t>::max(),
                       far = std::int64_t{1} << 30;

/// A call on tensors of ones, and the shape and every element of its result; or no shape, for an error that
/// begins with the operation's name.
struct Call {
  const char* op;
  Function function;
  std::vector<Shape> inputs;
  std::optional<Shape> result;
  double value = 0;
};

Function unary(Tensor (*op)(const Tensor&)) {
  return [op](const std::vector<Tensor>& t) { return op(t[0]); };
}

Function summed(std::vector<int> dims, bool keepdim = false) {
  return [=](const std::vector<Tensor>& t) { return sum(t[0], {.dims = dims, .keepdim = keepdim}); };
}

Function averaged(std::vector<int> dims) {
  return [=](const std::vector<Tensor>& t) { return mean(t[0], {.dims = dims}); };
}

Function reshaped(Shape shape) {
  return [=](const std::vector<Tensor>& t) { return reshape(t[0], shape); };
}

Function flattened(int start) {
  return [=](const std::vector<Tensor>& t) { return flatten(t[0], start); };
}

Function convolved(const Conv2dOptions& options = {}) {
  return [=](const std::vector<Tensor>& t) {
    return conv2d(t[0], t[1], t.size() > 2 ? t[2] : Tensor(), options);
  };
}

Function pooled(Tensor (*op)(const Tensor&, Pair, const PoolOptions&), Pair kernel,
                const PoolOptions& options = {}) {
  return [=](const std::vector<Tensor>& t) { return op(t[0], kernel, options); };
}

Function normalized(bool training, double dropout = 0) {
  return [=](const std::vector<Tensor>& t) {
    const Shape channels = {t[0].size(1)};
    const TensorOptions like = {.dtype = t[0].dtype(), .device = t[0].device()};
    return batch_norm(t[0], t[1], t[2], Tensor::zeros(channels, like), Tensor::ones(channels, like),
                      {.training = training, .epsilon = 0, .dropout = dropout});
  };
}

std::vector<Call> calls() {
  const auto add_all = [](const std::vector<Tensor>& t) { return add(t[0], t[1]); };
  const auto mul_all = [](const std::vector<Tensor>& t) { return mul(t[0], t[1]); };
  const auto doubled = [](const std::vector<Tensor>& t) { return mul(t[0], 2); };
  const auto dropped = [](const std::vector<Tensor>& t) { return dropout(t[0], 0.5); };
  const auto linear_all = [](const std::vector<Tensor>& t) {
    return linear(t[0], t[1], t.size() > 2 ? t[2] : Tensor());
  };
  std::vector<Call> all;
  for (const Shape& shape : {Shape{0, huge, huge}, Shape{huge, 0, huge}, Shape{huge, huge, 0}, Shape{0, most},
                             Shape{most, most, most, 0}, Shape{0}, Shape{0, 0, 0}})
    all.insert(all.end(), {{"relu", unary(relu), {shape}, shape},
                           {"mul", doubled, {shape}, shape},
                           {"dropout", dropped, {shape}, shape},
                           {"add", add_all, {shape, shape}, shape},
                           {"add", add_all, {shape, {}}, shape},
                           {"mul", mul_all, {{1, 1}, shape}, shape.size() > 1 ? shape : Shape{1, 0}},
                           {"sum", summed({}), {shape}, Shape{}},
                           {"sum", summed({}, true), {shape}, Shape(shape.size(), 1)},
                           {"reshape", reshaped({huge, 0, huge, 1}), {shape}, Shape{huge, 0, huge, 1}},
                           {"reshape", reshaped({0}), {shape}, Shape{0}},
                           {"reshape", reshaped({-1}), {shape}, Shape{0}},
                           {"reshape", reshaped({-1, huge}), {shape}, Shape{0, huge}},
                           {"reshape", reshaped({-1, huge, huge}), {shape}, Shape{0, huge, huge}},
                           {"reshape", reshaped({huge, huge}), {shape}, {}},
                           {"reshape", reshaped({0, -1}), {shape}, {}},
                           {"reshape", reshaped({1}), {shape}, {}},
                           {"flatten", flattened(0), {shape}, Shape{0}}});
  // Broadcast and reduced to more elements than can be counted, or to none after all.
  all.insert(all.end(), {{"add", add_all, {{0, huge, 1}, {0, 1, huge}}, Shape{0, huge, huge}},
                         {"mul", mul_all, {{huge, 0, 1}, {1, 1, 0}}, Shape{huge, 0, 0}},
                         {"sum", summed({0}), {{0, huge, huge}}, {}},
                         {"sum", summed({1}), {{huge, 0, huge}}, {}},
                         {"sum", summed({1, 2}), {{0, huge, huge}}, Shape{0}},
                         {"sum", summed({0, 2}), {{2, 0, huge}}, Shape{0}},
                         {"sum", summed({1, 2}), {{2, 0, huge}}, Shape{2}},
                         {"sum", summed({1, 2}, true), {{2, 0, huge}}, Shape{2, 1, 1}},
                         {"sum", summed({2}), {{3, 1, 0}}, Shape{3, 1}},
                         {"mean", averaged({}), {{0, huge, huge}}, Shape{}, NAN},
                         {"mean", averaged({1, 2}), {{3, huge, 0}}, Shape{3}, NAN},
                         {"mean", averaged({1, 2}), {{0, huge, huge}}, Shape{0}},
                         {"flatten", flattened(1), {{0, huge, huge}}, {}},
                         {"flatten", flattened(1), {{huge, 0, huge}}, Shape{huge, 0}},
                         {"flatten", flattened(-2), {{huge, 0, huge}}, Shape{huge, 0}},
                         {"flatten", flattened(-1), {{huge, huge, 0}}, Shape{huge, huge, 0}}});
  // Every extent of a linear layer.
  all.insert(all.end(), {{"linear", linear_all, {{0, 3}, {4, 3}, {4}}, Shape{0, 4}},
                         {"linear", linear_all, {{2, 0}, {3, 0}, {3}}, Shape{2, 3}, 1},
                         {"linear", linear_all, {{2, 0}, {3, 0}}, Shape{2, 3}},
                         {"linear", linear_all, {{2, 3}, {0, 3}, {0}}, Shape{2, 0}},
                         {"linear", linear_all, {{0, huge, 3}, {4, 3}}, Shape{0, huge, 4}},
                         {"linear", linear_all, {{huge, 0, huge, 3}, {4, 3}}, Shape{huge, 0, huge, 4}},
                         {"linear", linear_all, {{huge, 0}, {0, 0}}, Shape{huge, 0}},
                         {"linear", linear_all, {{0, most}, {0, most}, {0}}, Shape{0, 0}},
                         {"linear", linear_all, {{huge, huge, 0}, {5, 0}}, {}}});
  all.insert(all.end(), {{"log_softmax", unary(log_softmax), {{0, huge, huge}}, Shape{0, huge, huge}},
                         {"log_softmax", unary(log_softmax), {{huge, 0, most}}, Shape{huge, 0, most}},
                         {"log_softmax", unary(log_softmax), {{huge, 0}}, {}}});
  all.insert(all.end(), {{"argmax", unary(argmax), {{0, most}}, Shape{0}},
                         {"argmax", unary(argmax), {{most, 0}}, {}},
                         {"argmax", unary(argmax), {{0, 0}}, {}}});
  // A convolution: each extent, then options.
  const Shape image = {2, 4, 5, 6}, filter = {8, 4, 3, 3};
  all.insert(all.end(),
             {{"conv2d", convolved(), {{0, 4, 5, 6}, filter, {8}}, Shape{0, 8, 3, 4}},
              {"conv2d", convolved(), {{2, 0, 5, 6}, {8, 0, 3, 3}, {8}}, Shape{2, 8, 3, 4}, 1},
              {"conv2d", convolved(), {{2, 0, 5, 6}, {8, 0, 3, 3}}, Shape{2, 8, 3, 4}},
              {"conv2d", convolved(), {image, {0, 4, 3, 3}, {0}}, Shape{2, 0, 3, 4}},
              {"conv2d", convolved(), {{0, 1, huge, huge}, {1, 1, 1, 1}}, Shape{0, 1, huge, huge}},
              {"conv2d",
               convolved({.padding = far}),
               {{0, 1, huge, 1}, {1, 1, 1, 1}},
               Shape{0, 1, huge + 2 * far, 1 + 2 * far}},
              {"conv2d", convolved(), {{1, 0, huge, huge}, {2, 0, huge, huge}, {2}}, Shape{1, 2, 1, 1}, 1},
              {"conv2d", convolved(), {{0, 1, huge, huge}, {0, 1, huge, huge}}, Shape{0, 0, 1, 1}},
              {"conv2d", convolved({.dilation = far}), {{0, 1, huge, huge}, {0, 1, huge, huge}}, {}},
              {"conv2d", convolved(), {{0, 1, most, 1}, {1, 1, 1, 1}}, {}},
              {"conv2d", convolved(), {{0, 1, 1, most}, {1, 1, 1, 1}}, {}},
              {"conv2d", convolved({.padding = 2}), {{0, 4, 0, 6}, filter}, {}},
              {"conv2d", convolved({.padding = 2}), {{0, 4, 5, 0}, filter}, {}},
              {"conv2d", convolved({.padding = 2}), {image, {8, 4, 0, 3}}, {}},
              {"conv2d", convolved({.padding = 2}), {image, {8, 4, 3, 0}}, {}},
              {"conv2d", convolved({.groups = far}), {{1, 0, 4, 4}, {0, 0, 3, 3}, {0}}, Shape{1, 0, 2, 2}},
              {"conv2d", convolved({.groups = most}), {{2, 0, 4, 4}, {0, 0, 3, 3}}, {}},
              {"conv2d", convolved({.groups = most}), {{2, 0, 4, 4}, {0, most, 3, 3}}, {}},
              {"conv2d", convolved({.groups = 4}), {image, {0, 1, 3, 3}}, Shape{2, 0, 3, 4}},
              {"conv2d", convolved({.groups = 4}), {{2, 0, 5, 6}, {8, 0, 3, 3}}, Shape{2, 8, 3, 4}},
              {"conv2d", convolved({.padding = {far + 1, 0}}), {image, filter}, {}},
              {"conv2d", convolved({.stride = far + 1}), {image, filter}, {}},
              {"conv2d", convolved({.dilation = {1, far + 1}}), {image, filter}, {}},
              {"conv2d", convolved({.stride = far}), {image, filter, {8}}, Shape{2, 8, 1, 1}, 37}});
  for (const auto& [op, function] :
       {std::pair("max_pool2d", &max_pool2d), std::pair("avg_pool2d", &avg_pool2d)})
    all.insert(
        all.end(),
        {{op, pooled(function, 2), {{0, 3, 4, 4}}, Shape{0, 3, 2, 2}},
         {op, pooled(function, 2), {{3, 0, 4, 4}}, Shape{3, 0, 2, 2}},
         {op, pooled(function, 2, {.padding = 1}), {{huge, 0, 4, 4}}, Shape{huge, 0, 3, 3}},
         {op, pooled(function, 1), {{most, 0, 1, 1}}, Shape{most, 0, 1, 1}},
         {op, pooled(function, far), {{0, 1, far, 1}}, {}},
         {op, pooled(function, 2), {{0, 1, 0, 4}}, {}},
         {op, pooled(function, 2), {{0, 1, 4, 0}}, {}},
         {op, pooled(function, 1), {{0, 1, most, 1}}, {}},
         {op, pooled(function, 1), {{0, 1, 1, most}}, {}},
         {op, pooled(function, far + 1), {{1, 1, 4, 4}}, {}},
         {op, pooled(function, 2, {.stride = far + 1}), {{1, 1, 4, 4}}, {}},
         {op, pooled(function, 2, {.stride = far}), {{1, 1, 4, 4}}, Shape{1, 1, 1, 1}, 1},
         {op, pooled(function, {far, 1}, {.padding = {far / 2, 0}}), {{0, 1, 3, 3}}, Shape{0, 1, 1, 3}}});
  all.insert(all.end(),
             {{"avg_pool2d", pooled(avg_pool2d, 1), {{0, 1, huge, huge}}, Shape{0, 1, huge, huge}},
              {"max_pool2d", pooled(max_pool2d, 1), {{0, 1, huge, huge}}, {}},
              {"global_avg_pool2d", unary(global_avg_pool2d), {{0, 1, huge, huge}}, Shape{0, 1, 1, 1}},
              {"global_avg_pool2d", unary(global_avg_pool2d), {{huge, 0, huge, huge}}, Shape{huge, 0, 1, 1}},
              {"global_avg_pool2d", unary(global_avg_pool2d), {{1, 1, 0, huge}}, {}},
              {"global_avg_pool2d", unary(global_avg_pool2d), {{1, 1, huge, 0}}, {}}});
  for (const double dropout : {0.0, 0.5})
    all.insert(
        all.end(),
        {{"batch_norm", normalized(false, dropout), {{0, 3}, {3}, {3}}, Shape{0, 3}},
         {"batch_norm", normalized(false, dropout), {{2, 3, 0}, {3}, {3}}, Shape{2, 3, 0}},
         {"batch_norm", normalized(false, dropout), {{huge, 3, 0, huge}, {3}, {3}}, Shape{huge, 3, 0, huge}},
         {"batch_norm", normalized(false, dropout), {{huge, 0, huge}, {0}, {0}}, Shape{huge, 0, huge}},
         {"batch_norm", normalized(true, dropout), {{huge, 0, huge}, {0}, {0}}, Shape{huge, 0, huge}},
         {"batch_norm", normalized(true, dropout), {{0, 3}, {3}, {3}}, {}},
         {"batch_norm", normalized(true, dropout), {{huge, 3, 0}, {3}, {3}}, {}},
         {"batch_norm", normalized(true, dropout), {{1, 3}, {3}, {3}}, {}}});
  return all;
}

std::string describe(const Call& call) {
  std::string text = call.op;
  for (const Shape& shape : call.inputs) text += " " + to_string(shape);
  return text;
}

TEST_CASE("Every operation takes awkward extents, or says that it does not", "[sizes]") {
  const DType dtype = GENERATE(DType::float32, DType::float64);
  for_each_case(calls(), [&](Device device, const Call& call) {
    std::vector<Tensor> inputs;
    for (const Shape& shape : call.inputs)
      inputs.push_back(Tensor::ones(shape, {.dtype = dtype, .device = device}).set_requires_grad());
    if (!call.result) return check_error([&] { call.function(inputs); }, {call.op});
    const Tensor output = call.function(inputs);
    REQUIRE(output.shape() == *call.result);
    for (const double value : to_doubles(output))
      CHECK((value == call.value || (std::isnan(value) && std::isnan(call.value))));
    if (!output.requires_grad()) return;
    output.backward(Tensor::ones(output.shape(), {.dtype = dtype, .device = device}));
    for (const Tensor& input : inputs) {
      REQUIRE(input.grad().shape() == input.shape());
      if (output.numel() == 0)
        for (const double value : to_doubles(input.grad())) CHECK(value == 0);
    }
  });
}

TEST_CASE("A tensor without elements may have any other extents", "[sizes][tensor]") {
  for (const Device device : devices())
    for (const DType dtype : {DType::float32, DType::float64, DType::uint8, DType::int64}) {
      INFO(device.name() << " " << name_of(dtype));
      const TensorOptions options = {.dtype = dtype, .device = device};
      for (const Shape& shape : {Shape{0, huge, huge}, Shape{huge, huge, 0}, Shape{most, 0, most}}) {
        const Tensor x = Tensor::full(shape, 1, options);
        CHECK(numel(shape) == 0);
        CHECK(x.shape() == shape);
        CHECK(x.clone().detach().to(DType::float64).to(Device::cpu()).to_vector<double>().empty());
        CHECK(Tensor::from_bytes({}, shape, options).shape() == shape);
        Tensor::zeros(shape, options).copy_from(x);
        check_error([&] { x.item(); }, {"item", to_string(shape).c_str()});
      }
      check_error([&] { Tensor::zeros({0, -1, huge}, options); }, {"[0, -1, 1099511627776]", "negative"});
      check_error([&] { Tensor::zeros({huge, huge}, options); }, {"more elements than memory can hold"});
    }
}

TEST_CASE("Losses want rows and classes", "[sizes][errors]") {
  for (const auto& [op, loss] :
       {std::pair("nll_loss", &nll_loss), std::pair("cross_entropy", &cross_entropy)}) {
    const auto call = [&, loss = loss](const Shape& scores, const Shape& labels) {
      return loss(Tensor::ones(scores), Tensor::zeros(labels, {.dtype = DType::int64}), Reduction::mean);
    };
    check_error([&] { call({0, most}, {0}); }, {op, "at least one row"});
    check_error([&] { call({2, 0}, {2}); }, {op});
    check_error([&] { call({0, huge, huge}, {0}); }, {op});
  }
}

TEST_CASE("Layers of sizes that nothing can hold are an error", "[sizes][nn][errors]") {
  CHECK_THROWS_AS(nn::Linear(most, most), Error);
  CHECK_THROWS_AS(nn::Linear(huge, huge), Error);
  CHECK_THROWS_AS(nn::Conv2d(huge, 1, huge), Error);
  CHECK_THROWS_AS(nn::Conv2d(far, far, far), Error);
  CHECK_THROWS_AS(nn::Conv2d(1, most, {1, 2}), Error);
  CHECK_THROWS_AS(nn::BatchNorm2d(most), Error);
}

TEST_CASE("max_pool2d's limit is on the pixels of an image", "[sizes][max_pool2d]") {
  constexpr std::int64_t limit = std::int64_t{1} << 31;
  const auto pool = [](std::int64_t h, std::int64_t w) { return max_pool2d(Tensor::zeros({0, 1, h, w}), 1); };
  for (const auto& [h, w] :
       {std::pair(limit, std::int64_t{1}), std::pair(std::int64_t{1}, limit),
        std::pair(limit >> 15, std::int64_t{1} << 15), std::pair(limit / 3 + 1, std::int64_t{3})})
    check_error([&, h = h, w = w] { pool(h, w); }, {"max_pool2d", "2^31 pixels"});
  CHECK(pool(limit - 1, 1).size(2) == limit - 1);
  CHECK(pool(1, limit - 1).size(3) == limit - 1);
  CHECK(pool(limit / 3, 3).size(2) == limit / 3);
}

/// Bytes of virtual memory that the process has.
std::int64_t virtual_memory() {
  std::int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * ::sysconf(_SC_PAGESIZE);
}

TEST_CASE("conv2d takes memory in proportion to its tensors, whatever the options", "[sizes][conv2d]") {
  constexpr std::int64_t step = std::int64_t{1} << 28;
  // Input, weight, options, result; small enough for the plain sums below.
  const std::vector<std::tuple<Shape, Shape, Conv2dOptions>> problems = {
      {{1, 1, 1, 1}, {1, 1, 1, 1}, {.stride = {1, step}, .padding = {0, step}}},
      {{1, 1, 1, 1}, {1, 1, 1, 1}, {.stride = {step, 1}, .padding = {step, 0}}},
      {{2, 2, 3, 5}, {2, 1, 3, 2}, {.padding = {step, 0}, .dilation = {step, 2}, .groups = 2}},
      {{1, 2, 2, 3}, {3, 2, 2, 3}, {.padding = {0, step}, .dilation = {1, step}}},
      {{1, 1, 2, 2}, {2, 1, 2, 2}, {.stride = {1 << 14, 1 << 13}, .padding = {1 << 15, 1 << 15}}},
      {{1, 1, 3, 4}, {1, 1, 2, 2}, {.stride = {far, 1}, .padding = {far, 1}, .dilation = {1, 2}}}};
  for (const Device device : devices())
    for (const auto& [input, weight, options] : problems) {
      INFO(device.name() << ": " << to_string(input) << " " << to_string(weight));
      const std::vector<Tensor> arguments = {random(input, DType::float32, 1, device),
                                             random(weight, DType::float32, 2, device)};
      const std::int64_t before = virtual_memory();
      const Run result = run(convolved(options), requiring(arguments));
      CHECK(virtual_memory() - before < std::int64_t{256} << 20);
      const kernels::Conv2dProblem p = reference::conv2d_problem(input, weight, options);
      const std::vector<double> x = to_doubles(arguments[0]), w = to_doubles(arguments[1]);
      CHECK(difference(result.output, reference::conv2d(p, x, w, {}), 1e-6) == "");
      const reference::Conv2dGradients expected =
          reference::conv2d_backward(p, x, w, to_doubles(random(result.output.shape(), DType::float32, 99)));
      CHECK(difference(result.gradients[0], expected.input, 1e-6) == "");
      CHECK(difference(result.gradients[1], expected.weight, 1e-6) == "");
    }
}

}  // namespace
}  // namespace kg
