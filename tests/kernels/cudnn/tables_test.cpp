// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "cases/batch_norm.h"
#include "cases/conv2d.h"
#include "cases/linear.h"
#include "cases/log_softmax.h"
#include "cases/pool2d.h"
#include "core/tensor_impl.h"
#include "kernelgrad/cuda/runtime.h"
#include "kernels/avg_pool2d.h"
#include "kernels/cudnn.h"
#include "kernels/cudnn/context.h"
#include "kernels/cudnn/pool2d.h"
#include "kernels/dropout.h"
#include "kernels/global_avg_pool2d.h"
#include "kernels/log_softmax.h"
#include "kernels/max_pool2d.h"
#include "reference/batch_norm.h"
#include "reference/conv2d.h"
#include "reference/linear.h"
#include "reference/log_softmax.h"
#include "reference/pool2d.h"
#include "support.h"

/// Every function of every table of cuDNN's and cuBLAS's: against the formula, as our own kernels, recorded
/// as a graph against itself, and on what it does not take.
namespace kg::kernels::cudnn {
namespace {

using namespace testing;

/// Nothing is tested where there is no CUDA, not even an emulated one, or no cuDNN.
#define NEEDS_CUDNN()                                           \
  if (!cuda_is_available()) return;                             \
  if (!cudnn::is_available()) {                                 \
    WARN("nothing was tested: " + cudnn::unavailable_reason()); \
    return;                                                     \
  }

template <class T>
constexpr DType dtype_of = std::is_same_v<T, float> ? DType::float32 : DType::float64;

/// In proportion to the terms that an element is the sum of.
template <class T>
constexpr double tolerance = std::is_same_v<T, float> ? 2e-6 : 1e-13;

template <class T>
Tensor on_cuda(const Shape& shape, std::uint32_t seed) {
  return random(shape, dtype_of<T>, seed, Device::cuda());
}

/// Arrays of NaN: what is not written shows.
template <class T>
std::vector<Tensor> unwritten(const std::vector<Shape>& shapes) {
  std::vector<Tensor> arrays;
  for (const Shape& shape : shapes)
    arrays.push_back(Tensor::full(shape, std::numeric_limits<double>::quiet_NaN(),
                                  {.dtype = dtype_of<T>, .device = Device::cuda()}));
  return arrays;
}

/// Rounding errors are of either sign, and the terms of long sums add up to far more: no element may deviate
/// by more than the largest one justifies, nor by more than its own terms do.
reference::Values limited(reference::Values formula) {
  double largest = 1;
  for (const double value : formula.sum) largest = std::max(largest, std::abs(value));
  for (double& terms : formula.terms) terms = std::min(terms, largest);
  return formula;
}

/// Calls a table's functions, which leave their results in the arrays.
template <class Kernels>
using Call = std::function<void(const Kernels&, const std::vector<Tensor>&)>;

/// Checks that the two tables give the same results, which by the formulas are as given, and that cuDNN's
/// gives the same bits from a graph.
template <class T, class Kernels>
void compare(const Kernels& native, const Kernels& library, const std::vector<reference::Values>& formulas,
             const Call<Kernels>& call) {
  std::vector<Shape> shapes;
  for (const reference::Values& formula : formulas) shapes.push_back(formula.shape);
  const std::vector<Tensor> expected = unwritten<T>(shapes), actual = unwritten<T>(shapes),
                            replayed = unwritten<T>(shapes);
  call(native, expected);
  call(library, actual);
  Graph graph([&] { call(library, replayed); });
  graph.replay();
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    INFO("result " << i << (std::is_same_v<T, float> ? ", float" : ", double"));
    const reference::Values formula = limited(formulas[i]);
    CHECK(difference(actual[i], formula, tolerance<T>) == "");
    CHECK(difference(expected[i], formula, tolerance<T>) == "");
    CHECK(same_bits(replayed[i], actual[i]));
  }
}

template <class Body>
void in_float_and_double(const Body& body) {
  body(float{});
  body(double{});
}

template <class Action>
bool throws_unsupported(Action action) {
  try {
    action();
  } catch (const Unsupported&) {
    return true;
  } catch (const Error&) {
  }
  return false;
}

template <class T>
void compare_conv2d(const Conv2dProblem& p) {
  INFO(describe(p));
  const Shape input_shape{p.n, p.c_in, p.h, p.w}, weight_shape{p.c_out, p.c_in / p.groups, p.k_h, p.k_w},
      output_shape{p.n, p.c_out, p.out_h(), p.out_w()};
  const Tensor input = on_cuda<T>(input_shape, 1), weight = on_cuda<T>(weight_shape, 2),
               bias = on_cuda<T>({p.c_out}, 3), grad_output = on_cuda<T>(output_shape, 4);
  const std::vector<double> x = to_doubles(input), w = to_doubles(weight);
  const auto gradients = reference::conv2d_backward(p, x, w, to_doubles(grad_output));
  const reference::Values without_bias = reference::conv2d(p, x, w, {});
  reference::Values with_bias = without_bias;
  reference::add_bias(p, to_doubles(bias), with_bias);
  compare<T, Conv2dKernels<T>>(
      *cuda::tables<Conv2dKernels>().of<T>(), *cudnn::tables<Conv2dKernels>().of<T>(),
      {with_bias, without_bias, gradients.input, gradients.weight, gradients.bias},
      [&](const Conv2dKernels<T>& k, const std::vector<Tensor>& results) {
        k.forward(p, raw<T>(input), raw<T>(weight), raw<T>(bias), raw<T>(results[0]));
        k.forward(p, raw<T>(input), raw<T>(weight), nullptr, raw<T>(results[1]));
        k.backward_input(p, raw<T>(grad_output), raw<T>(weight), raw<T>(results[2]));
        k.backward_weight(p, raw<T>(input), raw<T>(grad_output), raw<T>(results[3]));
        k.backward_bias(p, raw<T>(grad_output), raw<T>(results[4]));
      });
}

TEST_CASE("cuDNN's convolution is ours", "[cudnn][conv2d]") {
  NEEDS_CUDNN();
  in_float_and_double([]<class T>(T) {
    for (const Conv2dProblem& p : cases::conv2d) compare_conv2d<T>(p);
    for (const Conv2dProblem& p : cases::conv2d_unequal) compare_conv2d<T>(p);
    for (const Conv2dProblem& p : cases::conv2d_s7_final) compare_conv2d<T>(p);
    for (const Conv2dProblem& p : cases::conv2d_large) compare_conv2d<T>(p);
  });
}

/// The options for the length of a scope.
class WithOptions {
 public:
  explicit WithOptions(const CudnnOptions& chosen) : before_(options()) { set_options(chosen); }
  ~WithOptions() { set_options(before_); }

 private:
  CudnnOptions before_;
};

/// The largest deviation of cuDNN's gradient of the weight from the formula, in proportion to its terms,
/// limited().
double weight_gradient_deviation(const Conv2dProblem& p) {
  const Tensor input = on_cuda<float>({p.n, p.c_in, p.h, p.w}, 1),
               weight = on_cuda<float>({p.c_out, p.c_in / p.groups, p.k_h, p.k_w}, 3),
               grad_output = on_cuda<float>({p.n, p.c_out, p.out_h(), p.out_w()}, 2),
               gradient = unwritten<float>({weight.shape()})[0];
  cudnn::tables<Conv2dKernels>().of<float>()->backward_weight(p, raw<float>(input), raw<float>(grad_output),
                                                              raw<float>(gradient));
  const std::vector<double> actual = to_doubles(gradient);
  const reference::Values expected = limited(
      reference::conv2d_backward(p, to_doubles(input), to_doubles(weight), to_doubles(grad_output)).weight);
  double deviation = 0;
  for (std::size_t i = 0; i < actual.size(); ++i)
    deviation = std::max(deviation, std::abs(actual[i] - expected.sum[i]) / expected.terms[i]);
  return deviation;
}

TEST_CASE("cuDNN's convolution is as exact as the options ask for", "[cudnn][conv2d]") {
  NEEDS_CUDNN();
  const Conv2dProblem& p = cases::conv2d_s7_final[2];
  CHECK(weight_gradient_deviation(p) < tolerance<float>);
  const auto deviation_with = [&](const CudnnOptions& chosen) {
    const WithOptions scope(chosen);
    return weight_gradient_deviation(p);
  };
  const double with_tf32 = deviation_with({.allow_tf32 = true});
  const double in_any_order = deviation_with({.deterministic = false});
  CHECK(with_tf32 < 2e-3);
  CHECK(in_any_order < 2e-3);
  // A GPU's libraries may take what they are allowed or not. The stand-ins do, and in any order means for
  // them an error that nobody overlooks.
  if (cuda_device_name() == "emulated CUDA device") {
    CHECK(with_tf32 > 10 * tolerance<float>);
    CHECK(in_any_order > 10 * tolerance<float>);
  }
  // A plan that was made for other options is not taken for these.
  CHECK(weight_gradient_deviation(p) < tolerance<float>);
}

TEST_CASE("cuBLAS's linear is ours", "[cudnn][linear]") {
  NEEDS_CUDNN();
  in_float_and_double([]<class T>(T) {
    const auto compare_linear = [](const LinearProblem& p) {
      INFO(describe(p));
      const Shape input_shape{p.rows, p.in_features}, weight_shape{p.out_features, p.in_features},
          output_shape{p.rows, p.out_features};
      const Tensor input = on_cuda<T>(input_shape, 1), weight = on_cuda<T>(weight_shape, 2),
                   bias = on_cuda<T>({p.out_features}, 3), grad_output = on_cuda<T>(output_shape, 4);
      const std::vector<double> x = to_doubles(input), w = to_doubles(weight);
      const auto gradients = reference::linear_backward(p, x, w, to_doubles(grad_output));
      compare<T, LinearKernels<T>>(
          *cuda::tables<LinearKernels>().of<T>(), *cudnn::tables<LinearKernels>().of<T>(),
          {reference::linear(p, x, w, to_doubles(bias)), reference::linear(p, x, w, {}), gradients.input,
           gradients.weight, gradients.bias},
          [&](const LinearKernels<T>& k, const std::vector<Tensor>& results) {
            k.forward(p, raw<T>(input), raw<T>(weight), raw<T>(bias), raw<T>(results[0]));
            k.forward(p, raw<T>(input), raw<T>(weight), nullptr, raw<T>(results[1]));
            k.backward_input(p, raw<T>(grad_output), raw<T>(weight), raw<T>(results[2]));
            k.backward_weight(p, raw<T>(input), raw<T>(grad_output), raw<T>(results[3]));
            k.backward_bias(p, raw<T>(grad_output), raw<T>(results[4]));
          });
    };
    for (const LinearProblem& p : cases::linear) compare_linear(p);
    for (const LinearProblem& p : cases::linear_large) compare_linear(p);
  });
}

/// relu_after and dropout, whose factors are given.
reference::Values finished(const BatchNormProblem& p, reference::Values y,
                           const std::vector<double>& factors) {
  for (std::size_t i = 0; i < y.sum.size(); ++i) {
    if (p.relu_after) y.sum[i] = std::max(y.sum[i], 0.0);
    y.sum[i] *= factors[i];
    y.terms[i] *= factors[i];
  }
  return y;
}

std::vector<double> dropout_factors(const BatchNormProblem& p) {
  std::vector<double> factors(static_cast<std::size_t>(p.n * p.channels * p.plane), 1);
  if (p.dropout.p > 0)
    cpu::tables<DropoutKernels>().of<double>()->apply(p.dropout, std::ssize(factors), factors.data(),
                                                      factors.data());
  return factors;
}

/// The mean of each channel.
reference::Values means(const BatchNormProblem& p, const std::vector<double>& x) {
  reference::Values result({p.channels});
  for (std::size_t i = 0; i < x.size(); ++i)
    result.add(static_cast<std::int64_t>(i) / p.plane % p.channels,
               (p.relu_before ? std::max(x[i], 0.0) : x[i]) / static_cast<double>(p.n * p.plane));
  return result;
}

reference::Values inverse_deviations(const BatchNormProblem& p,
                                     const std::vector<reference::ChannelMoments>& moments) {
  reference::Values result({p.channels});
  for (std::size_t c = 0; c < moments.size(); ++c)
    result.add(static_cast<std::int64_t>(c), 1 / std::sqrt(moments[c].biased_variance + p.epsilon));
  return result;
}

/// (1 - momentum) of what was there and momentum of what the batch has.
reference::Values moved(const std::vector<double>& before, const reference::Values& batch, double momentum) {
  reference::Values result = batch;
  for (std::size_t c = 0; c < before.size(); ++c) {
    result.sum[c] = momentum * batch.sum[c] + (1 - momentum) * before[c];
    result.terms[c] = momentum * batch.terms[c] + (1 - momentum) * std::abs(before[c]);
  }
  return result;
}

struct BatchNormInputs {
  Tensor input, grad_output, gamma, beta, mean, var;
};

/// Of every result of compare_batch_norm().
std::vector<reference::Values> batch_norm_formulas(const BatchNormProblem& p, const BatchNormInputs& inputs,
                                                   double momentum) {
  const auto doubles = [](const Tensor& t) { return t.defined() ? to_doubles(t) : std::vector<double>(); };
  const std::vector<double> x = doubles(inputs.input), gamma = doubles(inputs.gamma),
                            beta = doubles(inputs.beta), mean = doubles(inputs.mean),
                            var = doubles(inputs.var), factors = dropout_factors(p);
  std::vector<double> gradient = doubles(inputs.grad_output);
  for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] *= factors[i];
  const std::vector<reference::ChannelMoments> moments = reference::batch_moments(p, x);
  std::vector<reference::ChannelMoments> given;
  reference::Values batch_var({p.channels});
  for (std::size_t c = 0; c < moments.size(); ++c) {
    given.push_back({mean[c], var[c], var[c]});
    batch_var.add(static_cast<std::int64_t>(c), moments[c].unbiased_variance);
  }
  const auto output = [&](const std::vector<reference::ChannelMoments>& by) {
    return finished(p, reference::batch_norm(p, by, x, gamma, beta), factors);
  };
  const auto [of_input, of_gamma, of_beta] =
      reference::batch_norm_backward(p, moments, true, x, gamma, beta, gradient);
  return {output(moments),
          means(p, x),
          inverse_deviations(p, moments),
          moved(mean, means(p, x), momentum),
          moved(var, batch_var, momentum),
          of_input,
          of_gamma,
          of_beta,
          of_input,
          of_gamma,
          of_beta,
          output(given),
          inverse_deviations(p, given)};
}

/// Forward in training, its backward with and without each gradient, and forward in inference. The running
/// statistics, which every call moves on, are results too: each call begins with the same.
template <class T>
void compare_batch_norm(const BatchNormProblem& p, bool affine) {
  INFO(describe(p) << (affine ? ", affine" : ""));
  constexpr double momentum = 0.3;
  const Shape shape{p.n, p.channels, p.plane}, channels{p.channels};
  const Tensor ones = Tensor::ones(channels, {.dtype = dtype_of<T>, .device = Device::cuda()});
  const BatchNormInputs inputs = {.input = on_cuda<T>(shape, 1),
                                  .grad_output = on_cuda<T>(shape, 2),
                                  .gamma = affine ? on_cuda<T>(channels, 3) : Tensor(),
                                  .beta = affine ? on_cuda<T>(channels, 4) : Tensor(),
                                  .mean = on_cuda<T>(channels, 5),
                                  .var = on_cuda<T>(channels, 6) * 0.5 + ones};
  Tensor batches = Tensor::zeros({}, {.dtype = DType::int64, .device = Device::cuda()});
  const T *x = raw<T>(inputs.input), *g = raw<T>(inputs.grad_output), *gamma = raw<T>(inputs.gamma),
          *beta = raw<T>(inputs.beta);
  compare<T, BatchNormKernels<T>>(
      *cuda::tables<BatchNormKernels>().of<T>(), *cudnn::tables<BatchNormKernels>().of<T>(),
      batch_norm_formulas(p, inputs, momentum),
      [&](const BatchNormKernels<T>& k, const std::vector<Tensor>& results) {
        const auto at = [&](std::size_t i) { return raw<T>(results[i]); };
        Tensor(results[3]).copy_from(inputs.mean);
        Tensor(results[4]).copy_from(inputs.var);
        k.forward_training(p, x, gamma, beta, momentum, at(3), at(4), raw<std::int64_t>(batches), at(1),
                           at(2), at(0));
        k.backward(p, true, x, g, gamma, beta, at(1), at(2), at(5), at(6), at(7));
        k.backward(p, true, x, g, gamma, beta, at(1), at(2), at(8), nullptr, nullptr);
        k.backward(p, true, x, g, gamma, beta, at(1), at(2), nullptr, at(9), at(10));
        k.forward_inference(p, x, gamma, beta, raw<T>(inputs.mean), raw<T>(inputs.var), at(12), at(11));
      });
  // One for each table, one for the replay.
  CHECK(batches.to_vector<std::int64_t>() == std::vector<std::int64_t>{3});
}

TEST_CASE("cuDNN's batch norm with what stands around it is ours", "[cudnn][batch_norm]") {
  NEEDS_CUDNN();
  in_float_and_double([]<class T>(T) {
    for (BatchNormProblem p : cases::batch_norm)
      for (unsigned options = 0; options < 16; ++options) {
        p.relu_before = options & 1;
        p.relu_after = options & 2;
        p.dropout = {.p = options & 4 ? 0.4 : 0, .seed = 5, .offset = 7};
        compare_batch_norm<T>(p, options & 8);
      }
    for (const BatchNormProblem& p : cases::batch_norm_s7_final) compare_batch_norm<T>(p, true);
    for (const BatchNormProblem& p : cases::batch_norm_large) compare_batch_norm<T>(p, true);
  });
}

TEST_CASE("cuDNN's batch norm does without running statistics", "[cudnn][batch_norm]") {
  NEEDS_CUDNN();
  const BatchNormProblem p = cases::batch_norm[4];
  const Tensor input = on_cuda<float>({p.n, p.channels, p.plane}, 1);
  const std::vector<double> x = to_doubles(input);
  const auto moments = reference::batch_moments(p, x);
  compare<float, BatchNormKernels<float>>(
      *cuda::tables<BatchNormKernels>().of<float>(), *cudnn::tables<BatchNormKernels>().of<float>(),
      {reference::batch_norm(p, moments, x, {}, {}), means(p, x), inverse_deviations(p, moments)},
      [&](const BatchNormKernels<float>& k, const std::vector<Tensor>& results) {
        k.forward_training(p, raw<float>(input), nullptr, nullptr, 0.1, nullptr, nullptr, nullptr,
                           raw<float>(results[1]), raw<float>(results[2]), raw<float>(results[0]));
      });
}

reference::Pooled mean_of_planes(std::int64_t planes, std::int64_t h, std::int64_t w,
                                 const std::vector<double>& x, const std::vector<double>& gradient) {
  const Pool2dProblem whole{
      .planes = planes, .h = h, .w = w, .k_h = h, .k_w = w, .stride_h = h, .stride_w = w};
  return reference::avg_pool2d(whole, true, x, gradient);
}

TEST_CASE("cuDNN's pooling is ours where no two values are equal", "[cudnn][pool2d]") {
  NEEDS_CUDNN();
  in_float_and_double([]<class T>(T) {
    const auto compare_pooling = [](const Pool2dProblem& p) {
      INFO(describe(p));
      const Shape input_shape{p.planes, p.h, p.w}, output_shape{p.planes, p.out_h(), p.out_w()};
      const Tensor input = distinct(input_shape, dtype_of<T>, 1, Device::cuda()),
                   grad_output = on_cuda<T>(output_shape, 2),
                   argmax = Tensor::empty(output_shape, {.dtype = DType::int32, .device = Device::cuda()});
      CHECK(!cudnn::tables<MaxPool2dKernels>().of<T>()->uses_argmax);
      const std::vector<double> x = to_doubles(input), gradient = to_doubles(grad_output);
      const reference::Pooled largest = reference::max_pool2d(p, x, gradient);
      compare<T, MaxPool2dKernels<T>>(
          *cuda::tables<MaxPool2dKernels>().of<T>(), *cudnn::tables<MaxPool2dKernels>().of<T>(),
          {largest.output, largest.input_gradient},
          [&](const MaxPool2dKernels<T>& k, const std::vector<Tensor>& results) {
            std::int32_t* winners = k.uses_argmax ? raw<std::int32_t>(argmax) : nullptr;
            k.forward(p, raw<T>(input), raw<T>(results[0]), winners);
            k.backward(p, raw<T>(input), raw<T>(results[0]), raw<T>(grad_output), winners,
                       raw<T>(results[1]));
          });
      for (const bool count_include_pad : {false, true}) {
        const reference::Pooled mean = reference::avg_pool2d(p, count_include_pad, x, gradient);
        compare<T, AvgPool2dKernels<T>>(
            *cuda::tables<AvgPool2dKernels>().of<T>(), *cudnn::tables<AvgPool2dKernels>().of<T>(),
            {mean.output, mean.input_gradient},
            [&](const AvgPool2dKernels<T>& k, const std::vector<Tensor>& results) {
              k.forward(p, count_include_pad, raw<T>(input), raw<T>(results[0]));
              k.backward(p, count_include_pad, raw<T>(grad_output), raw<T>(results[1]));
            });
      }
      const Tensor grad_means = on_cuda<T>({p.planes}, 3);
      const reference::Pooled mean = mean_of_planes(p.planes, p.h, p.w, x, to_doubles(grad_means));
      compare<T, GlobalAvgPool2dKernels<T>>(
          *cuda::tables<GlobalAvgPool2dKernels>().of<T>(), *cudnn::tables<GlobalAvgPool2dKernels>().of<T>(),
          {mean.output, mean.input_gradient},
          [&](const GlobalAvgPool2dKernels<T>& k, const std::vector<Tensor>& results) {
            k.forward(p.planes, p.h * p.w, raw<T>(input), raw<T>(results[0]));
            k.backward(p.planes, p.h * p.w, raw<T>(grad_means), raw<T>(results[1]));
          });
    };
    for (const Pool2dProblem& p : cases::pool2d) compare_pooling(p);
    for (const Pool2dProblem& p : cases::pool2d_unequal) compare_pooling(p);
  });
}

TEST_CASE("cuDNN's pooling gets many planes in images that it takes", "[cudnn][pool2d]") {
  for (const std::int64_t planes : {1, 7, 65535, 65536, 3 * 65536, 64 * 12345}) {
    const ArrayShape shape = images_of(planes, 5, 6);
    INFO(describe(shape));
    CHECK(shape.n * shape.c == planes);
    CHECK(shape.n <= 65535);
    CHECK(shape.c <= 65535);
    CHECK(shape.h == 5);
    CHECK(shape.w == 6);
  }
  NEEDS_CUDNN();
  constexpr std::int64_t planes = 65536;
  const Tensor input = on_cuda<float>({planes, 4}, 1);
  const reference::Pooled mean = mean_of_planes(planes, 1, 4, to_doubles(input), std::vector<double>(planes));
  compare<float, GlobalAvgPool2dKernels<float>>(
      *cuda::tables<GlobalAvgPool2dKernels>().of<float>(),
      *cudnn::tables<GlobalAvgPool2dKernels>().of<float>(), {mean.output},
      [&](const GlobalAvgPool2dKernels<float>& k, const std::vector<Tensor>& results) {
        k.forward(planes, 4, raw<float>(input), raw<float>(results[0]));
      });
}

TEST_CASE("cuDNN's log_softmax is ours", "[cudnn][log_softmax]") {
  NEEDS_CUDNN();
  in_float_and_double([]<class T>(T) {
    const auto compare_rows = [](const cases::Rows& p) {
      INFO(cases::describe(p));
      const Shape shape{p.rows, p.classes};
      const Tensor input = on_cuda<T>(shape, 1), grad_output = on_cuda<T>(shape, 2);
      const reference::Values output = reference::log_softmax(p.rows, p.classes, to_doubles(input));
      compare<T, LogSoftmaxKernels<T>>(
          *cuda::tables<LogSoftmaxKernels>().of<T>(), *cudnn::tables<LogSoftmaxKernels>().of<T>(),
          {output, reference::log_softmax_backward(output, to_doubles(grad_output))},
          [&](const LogSoftmaxKernels<T>& k, const std::vector<Tensor>& results) {
            k.forward(p.rows, p.classes, raw<T>(input), raw<T>(results[0]));
            k.backward(p.rows, p.classes, raw<T>(results[0]), raw<T>(grad_output), raw<T>(results[1]));
          });
    };
    for (const cases::Rows& p : cases::log_softmax) compare_rows(p);
    for (const cases::Rows& p : cases::log_softmax_large) compare_rows(p);
  });
}

TEST_CASE("NaN goes through cuDNN's pooling", "[cudnn][pool2d]") {
  NEEDS_CUDNN();
  const Pool2dProblem p{.planes = 1, .h = 2, .w = 4, .k_h = 2, .k_w = 2, .stride_h = 2, .stride_w = 2};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor input = from_doubles({1, nan, 3, 4, 5, 6, 7, 8}, {2, 4}, DType::float32, Device::cuda());
  const Tensor largest = Tensor::zeros({2}, {.device = Device::cuda()}), mean = largest.clone();
  cudnn::tables<MaxPool2dKernels>().of<float>()->forward(p, raw<float>(input), raw<float>(largest), nullptr);
  cudnn::tables<AvgPool2dKernels>().of<float>()->forward(p, true, raw<float>(input), raw<float>(mean));
  for (const Tensor& result : {largest, mean}) {
    CHECK(std::isnan(result.to_vector<float>()[0]));
    CHECK(!std::isnan(result.to_vector<float>()[1]));
  }
}

TEST_CASE("What cuDNN and cuBLAS do not take is Unsupported, and nothing is touched", "[cudnn][errors]") {
  NEEDS_CUDNN();
  constexpr std::int64_t huge = std::int64_t{1} << 32;
  // Whoever looked at the arrays would fail.
  const float* in = nullptr;
  float* out = nullptr;
  Conv2dProblem empty = cases::conv2d[6], large = cases::conv2d[6];
  empty.n = 0;
  large.n = huge;
  for (const Conv2dProblem& p : {empty, large}) {
    const Conv2dKernels<float>& k = *cudnn::tables<Conv2dKernels>().of<float>();
    CHECK(throws_unsupported([&] { k.forward(p, in, in, in, out); }));
    CHECK(throws_unsupported([&] { k.backward_input(p, in, in, out); }));
    CHECK(throws_unsupported([&] { k.backward_weight(p, in, in, out); }));
    CHECK(throws_unsupported([&] { k.backward_bias(p, in, out); }));
  }
  for (const std::int64_t rows : {std::int64_t{0}, huge}) {
    INFO(rows);
    const LinearKernels<float>& k = *cudnn::tables<LinearKernels>().of<float>();
    const LinearProblem p{.rows = rows, .in_features = 3, .out_features = 5};
    CHECK(throws_unsupported([&] { k.forward(p, in, in, in, out); }));
    CHECK(throws_unsupported([&] { k.backward_input(p, in, in, out); }));
    CHECK(throws_unsupported([&] { k.backward_weight(p, in, in, out); }));
    CHECK(throws_unsupported([&] { k.backward_bias(p, in, out); }));

    const BatchNormKernels<float>& b = *cudnn::tables<BatchNormKernels>().of<float>();
    const BatchNormProblem bp{.n = rows, .channels = 3, .plane = 5};
    CHECK(throws_unsupported(
        [&] { b.forward_training(bp, in, in, in, 0.1, out, out, nullptr, out, out, out); }));
    CHECK(throws_unsupported([&] { b.forward_inference(bp, in, in, in, in, in, out, out); }));
    CHECK(throws_unsupported([&] { b.backward(bp, true, in, in, in, in, in, in, out, out, out); }));

    Pool2dProblem pp = cases::pool2d[3];
    pp.planes = rows;
    CHECK(throws_unsupported(
        [&] { cudnn::tables<MaxPool2dKernels>().of<float>()->forward(pp, in, out, nullptr); }));
    CHECK(throws_unsupported(
        [&] { cudnn::tables<MaxPool2dKernels>().of<float>()->backward(pp, in, in, in, nullptr, out); }));
    CHECK(throws_unsupported(
        [&] { cudnn::tables<AvgPool2dKernels>().of<float>()->forward(pp, true, in, out); }));
    CHECK(throws_unsupported(
        [&] { cudnn::tables<AvgPool2dKernels>().of<float>()->backward(pp, true, in, out); }));
    CHECK(throws_unsupported(
        [&] { cudnn::tables<GlobalAvgPool2dKernels>().of<float>()->forward(rows, 4, in, out); }));
    CHECK(throws_unsupported(
        [&] { cudnn::tables<GlobalAvgPool2dKernels>().of<float>()->backward(4, rows, in, out); }));
    CHECK(throws_unsupported(
        [&] { cudnn::tables<LogSoftmaxKernels>().of<float>()->forward(rows, 4, in, out); }));
    CHECK(throws_unsupported(
        [&] { cudnn::tables<LogSoftmaxKernels>().of<float>()->backward(4, rows, in, in, out); }));
  }
  // Gradients where the statistics are given.
  CHECK(throws_unsupported([&] {
    cudnn::tables<BatchNormKernels>().of<float>()->backward(cases::batch_norm[0], false, in, in, in, in, in,
                                                            in, out, out, out);
  }));
}

TEST_CASE("Handles and workspaces are not made in a recording, and workspaces stay", "[cudnn][graph]") {
  NEEDS_CUDNN();
  cudnn::Context context;
  const std::initializer_list<std::function<void()>> uses = {
      [&] { context.cudnn(); }, [&] { context.cublas(); }, [&] { context.workspace(1000); }};
  for (const auto& use : uses) {
    check_error([&] { Graph graph(use); }, {"cudnn: ", "run the step once before recording"});
    use();
    CHECK_NOTHROW(Graph(use));
  }
  void* const first = context.workspace(1000);
  CHECK(first);
  CHECK(context.workspace(0) == nullptr);
  CHECK(context.workspace(1) == first);
  check_error([&] { Graph([&] { context.workspace(1001); }); }, {"workspace", "before recording"});
  CHECK(context.workspace(1000) == first);
  void* const second = context.workspace(1001);
  CHECK(second != first);
  CHECK(context.workspace(2000) == second);
  CHECK(context.workspace(2001) != second);
}

}  // namespace
}  // namespace kg::kernels::cudnn
