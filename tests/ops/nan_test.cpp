// SPDX-License-Identifier: MIT
#include "support.h"

namespace kg {
namespace {

using namespace testing;

/// An operation of the table, with inputs that have all different elements.
struct Op {
  std::string name;
  Function function;
  std::vector<Shape> inputs;
};

Tensor classes(std::int64_t rows, std::int64_t count, Device device) {
  std::vector<std::int64_t> labels(static_cast<std::size_t>(rows));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::int64_t>(3 * i) % count;
  return Tensor::from(labels, {rows}, device);
}

Tensor normalized(const std::vector<Tensor>& t, bool training, bool relu_before = false,
                  bool relu_after = false) {
  const TensorOptions like = {.dtype = t[0].dtype(), .device = t[0].device()};
  const Shape channels = {t[0].size(1)};
  return batch_norm(t[0], t[1], t[2], Tensor::full(channels, 0.1, like), Tensor::full(channels, 2, like),
                    {.training = training, .relu_before = relu_before, .relu_after = relu_after});
}

/// Shapes on both sides of what the kernels' fast paths and vectors take.
std::vector<Op> table() {
  using Inputs = const std::vector<Tensor>&;
  std::vector<Op> ops = {
      {"add", [](Inputs t) { return t[0] + t[1]; }, {{3, 7}, {7}}},
      {"mul", [](Inputs t) { return t[0] * t[1]; }, {{3, 1, 5}, {4, 5}}},
      {"mul by a number", [](Inputs t) { return t[0] * 3.0; }, {{19}}},
      {"relu", [](Inputs t) { return relu(t[0]); }, {{37}}},
      {"sum", [](Inputs t) { return sum(t[0]); }, {{3, 11}}},
      {"sum of rows", [](Inputs t) { return sum(t[0], {.dims = {1}}); }, {{3, 21}}},
      {"sum of columns", [](Inputs t) { return sum(t[0], {.dims = {0}}); }, {{5, 9}}},
      {"mean",
       [](Inputs t) {
         return mean(t[0], {.dims = {0, 2}});
       },
       {{2, 3, 5}}},
      {"reshape",
       [](Inputs t) {
         return reshape(t[0], {-1, 2});
       },
       {{3, 4}}},
      {"to", [](Inputs t) { return t[0].to(DType::float64).to(t[0].dtype()); }, {{13}}},
      {"conv2d", [](Inputs t) { return conv2d(t[0], t[1], t[2]); }, {{2, 2, 6, 7}, {3, 2, 3, 3}, {3}}},
      {"conv2d, padded",
       [](Inputs t) {
         return conv2d(t[0], t[1], {.padding = {1, 2}});
       },
       {{1, 2, 5, 9}, {4, 2, 3, 5}}},
      {"conv2d, strided, dilated, in groups",
       [](Inputs t) {
         return conv2d(t[0], t[1], t[2], {.stride = {2, 1}, .padding = 1, .dilation = {1, 2}, .groups = 2});
       },
       {{1, 4, 7, 8}, {4, 2, 3, 2}, {4}}},
      {"conv2d, 1x1", [](Inputs t) { return conv2d(t[0], t[1]); }, {{2, 5, 4, 4}, {3, 5, 1, 1}}},
      {"linear", [](Inputs t) { return linear(t[0], t[1], t[2]); }, {{5, 9}, {7, 9}, {7}}},
      {"batch_norm, training", [](Inputs t) { return normalized(t, true); }, {{2, 3, 3, 3}, {3}, {3}}},
      {"batch_norm, inference", [](Inputs t) { return normalized(t, false); }, {{2, 3, 3, 3}, {3}, {3}}},
      {"relu, batch_norm", [](Inputs t) { return normalized(t, false, true); }, {{2, 3, 9}, {3}, {3}}},
      {"batch_norm, relu", [](Inputs t) { return normalized(t, false, false, true); }, {{2, 3, 9}, {3}, {3}}},
      {"max_pool2d, pairs", [](Inputs t) { return max_pool2d(t[0], 2); }, {{2, 2, 8, 10}}},
      {"max_pool2d",
       [](Inputs t) {
         return max_pool2d(t[0], {3, 2}, {.stride = {1, 2}, .padding = {1, 1}});
       },
       {{1, 2, 5, 7}}},
      {"avg_pool2d",
       [](Inputs t) {
         return avg_pool2d(t[0], {2, 3}, {.stride = {2, 1}, .padding = {0, 1}});
       },
       {{1, 2, 5, 7}}},
      {"global_avg_pool2d", [](Inputs t) { return global_avg_pool2d(t[0]); }, {{2, 2, 3, 5}}},
      {"log_softmax", [](Inputs t) { return log_softmax(t[0]); }, {{3, 13}}},
      {"nll_loss",
       [](Inputs t) { return nll_loss(t[0], classes(t[0].size(0), t[0].size(1), t[0].device())); },
       {{4, 5}}},
      {"cross_entropy",
       [](Inputs t) { return cross_entropy(t[0], classes(t[0].size(0), t[0].size(1), t[0].device())); },
       {{4, 13}}}};
  return ops;
}

std::vector<Tensor> inputs_of(const Op& op, DType dtype, Device device) {
  std::vector<Tensor> inputs;
  for (const Shape& shape : op.inputs)
    inputs.push_back(distinct(shape, dtype, static_cast<std::uint32_t>(inputs.size()), device));
  return inputs;
}

/// A copy of x with one other element.
Tensor with(const Tensor& x, std::size_t index, double value) {
  std::vector<double> values = to_doubles(x);
  values[index] = value;
  return from_doubles(values, x.shape(), x.dtype(), x.device());
}

/// Which elements of a result change when one element of a tensor takes other finite values.
std::vector<bool> dependent(const std::function<Tensor(const Tensor&)>& result, const Tensor& x,
                            std::size_t index) {
  const std::vector<double> before = to_doubles(result(x));
  std::vector<bool> changed(before.size());
  for (const double value : {1e3, -1e3}) {
    const std::vector<double> after = to_doubles(result(with(x, index, value)));
    for (std::size_t i = 0; i < before.size(); ++i) changed[i] = changed[i] || after[i] != before[i];
  }
  return changed;
}

std::vector<bool> is_nan(const Tensor& x) {
  std::vector<bool> result;
  for (const double value : to_doubles(x)) result.push_back(std::isnan(value));
  return result;
}

/// How many hold of the first and not of the second.
std::size_t count(const std::vector<bool>& first, const std::vector<bool>& second) {
  std::size_t number = 0;
  for (std::size_t i = 0; i < first.size(); ++i) number += first[i] && !second[i];
  return number;
}

/// Some elements of a tensor, the first and the last among them.
std::vector<std::size_t> places(const Tensor& x) {
  const std::size_t count = static_cast<std::size_t>(x.numel()), step = std::max<std::size_t>(count / 12, 1);
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < count; i += step) indices.push_back(i);
  if (indices.back() != count - 1) indices.push_back(count - 1);
  return indices;
}

TEST_CASE("NaN in an input is NaN in every output that depends on it", "[nan]") {
  const double nan = std::nan("");
  for (const Device device : devices())
    for (const DType dtype : {DType::float32, DType::float64})
      for (const Op& op : table()) {
        std::vector<Tensor> inputs = inputs_of(op, dtype, device);
        for (std::size_t which = 0; which < inputs.size(); ++which) {
          const auto output = [&](const Tensor& x) {
            std::vector<Tensor> moved = inputs;
            moved[which] = x;
            return op.function(moved);
          };
          for (const std::size_t index : places(inputs[which])) {
            INFO(device.name() << ", " << name_of(dtype) << ", " << op.name << ": element " << index
                               << " of input " << which);
            const std::vector<bool> expected = dependent(output, inputs[which], index),
                                    actual = is_nan(output(with(inputs[which], index, nan)));
            CHECK(count(expected, actual) == 0);
            // A weight that is NaN meets padding, too: 0 * NaN.
            if (which == 0) CHECK(count(actual, expected) == 0);
          }
        }
      }
}

TEST_CASE("NaN in a gradient is NaN in every gradient that depends on it", "[nan]") {
  for (const Device device : devices())
    for (const DType dtype : {DType::float32, DType::float64})
      for (const Op& op : table()) {
        const std::vector<Tensor> inputs = inputs_of(op, dtype, device);
        const Tensor ones = Tensor::ones(op.function(inputs).shape(), {.dtype = dtype, .device = device});
        for (std::size_t which = 0; which < inputs.size(); ++which) {
          const auto gradient = [&](const Tensor& incoming) {
            std::vector<Tensor> leaves = requiring(inputs);
            op.function(leaves).backward(incoming);
            return leaves[which].grad();
          };
          for (const std::size_t index : places(ones)) {
            INFO(device.name() << ", " << name_of(dtype) << ", " << op.name << ": gradient of input " << which
                               << ", NaN in element " << index);
            const std::vector<bool> expected = dependent(gradient, ones, index),
                                    actual = is_nan(gradient(with(ones, index, std::nan(""))));
            CHECK(count(expected, actual) == 0);
          }
        }
      }
}

TEST_CASE("batch_norm with neighbours makes of NaN and infinity what the operations one by one do", "[nan]") {
  const bool training = GENERATE(false, true), relu_before = GENERATE(false, true),
             relu_after = GENERATE(false, true);
  const double p = GENERATE(0.0, 0.5, 1.0);
  const Shape shape = {2, 2, 17};
  for (const Device device : devices())
    for (const DType dtype : {DType::float32, DType::float64})
      for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()})
        for (const bool in_gradient : {false, true})
          for (const std::size_t index : {0, 16, 40}) {
            INFO(device.name() << ", " << name_of(dtype) << (training ? ", training" : ", inference")
                               << (relu_before ? ", relu before" : "") << (relu_after ? ", relu after" : "")
                               << ", p " << p << ", " << bad << (in_gradient ? " in gradient " : " in input ")
                               << index);
            const TensorOptions like = {.dtype = dtype, .device = device};
            const Tensor x = distinct(shape, dtype, 1, device), incoming = distinct(shape, dtype, 2, device);
            const auto pass = [&](bool fused) {
              Generator generator(7);
              const Tensor mean = Tensor::zeros({2}, like), var = Tensor::ones({2}, like);
              std::vector<Tensor> t = requiring(
                  {in_gradient ? x : with(x, index, bad), Tensor::ones({2}, like), Tensor::zeros({2}, like)});
              Tensor y;
              if (fused) {
                y = batch_norm(t[0], t[1], t[2], mean, var,
                               {.training = training,
                                .relu_before = relu_before,
                                .relu_after = relu_after,
                                .dropout = p,
                                .generator = &generator});
              } else {
                y = batch_norm(relu_before ? relu(t[0]) : t[0], t[1], t[2], mean, var,
                               {.training = training});
                if (relu_after) y = relu(y);
                y = dropout(y, p, generator);
              }
              y.backward(in_gradient ? with(incoming, index, bad) : incoming);
              return std::vector<std::vector<bool>>{is_nan(y), is_nan(t[0].grad()), is_nan(t[1].grad()),
                                                    is_nan(t[2].grad())};
            };
            CHECK(pass(true) == pass(false));
          }
}

}  // namespace
}  // namespace kg
