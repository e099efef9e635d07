// SPDX-License-Identifier: MIT
/// A small program of tensor operations, and backward through it. The reference is computed number by number
/// on a Tape, by loops over the formulas of ops.h. Values and gradients lie within its bounds. What ops.h
/// does not allow is a kg::Error and nothing else, and what it allows is none. Where elements have been
/// overwritten, backward() throws kg::Error or gives the gradients of what forward saw.

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "fuzz/fuzz.h"
#include "fuzz/operations_inputs.h"
#include "fuzz/tape_functions.h"
#include "fuzz/tape_operations.h"
#include "kernelgrad/kernelgrad.h"

namespace kg::fuzz {

namespace {

// What an input may cost: well under a millisecond, mostly.
constexpr double max_products = 4'000;
constexpr std::size_t max_edges = 12'000;
constexpr int max_steps = 8;

/// Of a sum and of broadcast operands.
constexpr int largest_rank = 8;

/// What the reference makes of a step.
struct Expected {
  Shape shape;
  Indices numbers;
};

struct RunningStatistics {
  Value mean, variance;
};

// What ops.h allows.

/// A bias may be missing.
bool takes_bias(const Value& x, const Value& bias, std::int64_t features) {
  return !bias.tensor.defined() || (agree(x, {&bias}) && bias.has_shape({features}));
}

/// Whether a kernel lies within an image and its padding.
bool fits(std::int64_t extent, std::int64_t padding, std::int64_t dilation, std::int64_t kernel) {
  return extent >= 1 && kernel >= 1 && dilation * (kernel - 1) < extent + 2 * padding;
}

bool takes_conv2d(const Value& x, const Value& weight, const Value& bias, const Conv2dOptions& o) {
  return agree(x, {&weight}) && x.has_rank(4) && weight.has_rank(4) && takes_bias(x, bias, weight.size(0)) &&
         lies_in(o.stride, 1, largest_option) && lies_in(o.padding, 0, largest_option) &&
         lies_in(o.dilation, 1, largest_option) && lies_in(o.groups, 1, largest_option) &&
         weight.size(0) % o.groups == 0 && x.size(1) == weight.size(1) * o.groups &&
         fits(x.size(2), o.padding.h, o.dilation.h, weight.size(2)) &&
         fits(x.size(3), o.padding.w, o.dilation.w, weight.size(3));
}

bool takes_conv_transpose2d(const Value& x, const Value& weight, const Value& bias,
                            const ConvTranspose2dOptions& o) {
  return agree(x, {&weight}) && x.has_rank(4) && weight.has_rank(4) && x.size(2) >= 1 && x.size(3) >= 1 &&
         lies_in(o.stride, 1, largest_option) && lies_in(o.padding, 0, largest_option) &&
         lies_in(o.output_padding.h, 0, o.stride.h - 1) && lies_in(o.output_padding.w, 0, o.stride.w - 1) &&
         lies_in(o.dilation, 1, largest_option) && lies_in(o.groups, 1, largest_option) &&
         weight.size(0) == x.size(1) && x.size(1) % o.groups == 0 && weight.size(2) >= 1 &&
         weight.size(3) >= 1 && takes_bias(x, bias, weight.size(1) * o.groups);
}

/// The convolution that it is the transpose of.
kernels::Conv2dProblem conv_transpose2d_problem(const Value& x, const Value& weight,
                                                const ConvTranspose2dOptions& o) {
  const auto extent = [](std::int64_t out, std::int64_t stride, std::int64_t padding, std::int64_t more,
                         std::int64_t dilation, std::int64_t kernel) {
    return (out - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1;
  };
  return {.n = x.size(0),
          .c_in = weight.size(1) * o.groups,
          .h = extent(x.size(2), o.stride.h, o.padding.h, o.output_padding.h, o.dilation.h, weight.size(2)),
          .w = extent(x.size(3), o.stride.w, o.padding.w, o.output_padding.w, o.dilation.w, weight.size(3)),
          .c_out = x.size(1),
          .k_h = weight.size(2),
          .k_w = weight.size(3),
          .stride_h = o.stride.h,
          .stride_w = o.stride.w,
          .padding_h = o.padding.h,
          .padding_w = o.padding.w,
          .dilation_h = o.dilation.h,
          .dilation_w = o.dilation.w,
          .groups = o.groups};
}

double elements_of(const kernels::Conv2dProblem& p) {
  return static_cast<double>(std::max<std::int64_t>(p.n, 1)) *
         static_cast<double>(std::max<std::int64_t>(p.c_in, 1)) * static_cast<double>(p.h) *
         static_cast<double>(p.w);
}

double products_of(const kernels::Conv2dProblem& p, const Value& weight) {
  return static_cast<double>(std::max<std::int64_t>(p.n, 1)) * static_cast<double>(p.out_h()) *
         static_cast<double>(p.out_w()) * static_cast<double>(1 + weight.tensor.numel());
}

/// Images of more elements with their padding than memory could hold.
bool may_be_refused(const kernels::Conv2dProblem& p) {
  return static_cast<double>(p.h + 2 * p.padding_h) * static_cast<double>(p.w + 2 * p.padding_w) > 0x1p30;
}

bool takes_pool2d(const Value& x, Pair kernel, const PoolOptions& o) {
  return x.is_floating() && x.has_rank(4) && lies_in(kernel, 1, largest_option) &&
         lies_in(o.stride, 0, largest_option) && lies_in(o.padding.h, 0, kernel.h / 2) &&
         lies_in(o.padding.w, 0, kernel.w / 2) && fits(x.size(2), o.padding.h, 1, kernel.h) &&
         fits(x.size(3), o.padding.w, 1, kernel.w);
}

kernels::Pool2dProblem pool2d_problem(const Value& x, Pair kernel, const PoolOptions& o) {
  return {x.size(0) * x.size(1),
          x.size(2),
          x.size(3),
          kernel.h,
          kernel.w,
          o.stride.h == 0 ? kernel.h : o.stride.h,
          o.stride.w == 0 ? kernel.w : o.stride.w,
          o.padding.h,
          o.padding.w};
}

/// Of all windows of a plane.
double pixels_of(const kernels::Pool2dProblem& p) {
  return static_cast<double>(p.out_h()) * static_cast<double>(p.out_w()) * static_cast<double>(p.k_h) *
         static_cast<double>(p.k_w);
}

bool takes_batch_norm(const Value& x, const Value& gamma, const Value& beta, const RunningStatistics& running,
                      const BatchNormOptions& o) {
  if (!x.is_floating() || x.tensor.dim() < 2) return false;
  const std::int64_t channels = x.size(1);
  const auto fits_channels = [&](const Value& parameter) {
    return !parameter.tensor.defined() || (agree(x, {&parameter}) && parameter.has_shape({channels}));
  };
  const bool has_statistics = running.mean.tensor.defined();
  return fits_channels(gamma) && fits_channels(beta) && fits_channels(running.mean) &&
         fits_channels(running.variance) && gamma.tensor.defined() == beta.tensor.defined() &&
         has_statistics == running.variance.tensor.defined() && (o.training || has_statistics) &&
         o.momentum >= 0 && o.momentum <= 1 && o.epsilon >= 0 && std::isfinite(o.epsilon) && o.dropout >= 0 &&
         o.dropout <= 1 && (!o.training || x.tensor.numel() >= 2 * channels);
}

BatchNorm batch_norm_of(const Value& x, const BatchNormOptions& o) {
  return {.channels = x.size(1),
          .plane = product(x.tensor.shape(), 2),
          .training = o.training,
          .relu_before = o.relu_before,
          .relu_after = o.relu_after,
          .momentum = o.momentum,
          .epsilon = o.epsilon};
}

/// Whether so many elements have that shape, one -1 of which may be any extent.
bool holds(const Shape& wanted, std::int64_t count) {
  double given = 1;
  int unknown_extents = 0;
  for (const std::int64_t extent : wanted) {
    if (extent < -1) return false;
    if (extent == -1)
      ++unknown_extents;
    else
      given *= static_cast<double>(extent);
  }
  if (unknown_extents == 0) return given == static_cast<double>(count);
  return unknown_extents == 1 && given > 0 && std::fmod(static_cast<double>(count), given) == 0;
}

// Comparing.

std::string text(double value) {
  std::array<char, 32> digits;
  std::snprintf(digits.data(), digits.size(), "%.17g", value);
  return digits.data();
}

void check(const std::string& what, const Tensor& actual, const std::vector<Bounded>& expected) {
  const std::vector<double> values = doubles(actual);
  require(values.size() == expected.size(), what + " has another number of elements");
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!expected[i].allows(values[i]))
      require(false, what + ": element " + std::to_string(i) + " of " + to_string(actual.shape()) + " is " +
                         text(values[i]) + ", expected " + text(expected[i].value) + " +- " +
                         text(expected[i].error));
}

template <class Condition>
bool any_of(std::initializer_list<const Value*> values, const Condition& condition) {
  return std::ranges::any_of(
      values, [&](const Value* value) { return value->tensor.defined() && condition(value->tensor); });
}

/// True unless `action` throws kg::Error.
template <class Action>
bool succeeds(const Action& action) {
  try {
    action();
    return true;
  } catch (const kg::Error&) {
    return false;
  }
}

class Program : Inputs {
 public:
  using Inputs::Inputs;

  void run() {
    for (int count = 0; count < max_steps && tape_.edge_count() < max_edges; ++count)
      if (!any_step()) break;
    if (!values_.empty()) differentiate();
  }

 private:
  // What becomes of it.

  void check_elements(const std::string& what, const Tensor& actual, const Indices& expected) const {
    std::vector<Bounded> elements;
    for (const Tape::Index i : expected) elements.push_back(tape_[i]);
    check(what, actual, elements);
  }

  Indices detached(const Indices& x) {
    return each(x, [&](Tape::Index i) { return tape_.detached(i); });
  }

  /// Runs an operation, which must throw unless it is valid, and compares its result with what `reference`
  /// expects. Returns whether there is a result: the last of the values.
  template <class Call, class Reference>
  bool step(const std::string& name, bool is_valid, std::initializer_list<const Value*> inputs,
            const Call& call, const Reference& reference) {
    steps_ += name + ", ";
    const bool records = !bytes_.one_in(16);
    Tensor result;
    try {
      std::optional<NoGrad> no_grad;
      if (!records) no_grad.emplace();
      result = call();
    } catch (const kg::Error& error) {
      require(!is_valid, steps_ + "refused: " + error.what());
      return false;
    }
    require(is_valid, steps_ + "accepted though it is not valid");
    const bool is_input = any_of(inputs, [&](const Tensor& x) { return x.impl() == result.impl(); });
    const bool is_differentiable = records && is_floating_point(result.dtype()) &&
                                   any_of(inputs, [](const Tensor& x) { return x.requires_grad(); });
    set_precision(result.dtype());
    tape_.set_recording(records);
    Expected expected = reference();
    tape_.set_recording(true);
    if (!records && !is_input) expected.numbers = detached(expected.numbers);
    require(result.shape() == expected.shape,
            steps_ + "of shape " + to_string(result.shape()) + ", expected " + to_string(expected.shape));
    require(is_input || result.requires_grad() == is_differentiable, steps_ + "requires_grad is wrong");
    if (is_floating_point(result.dtype())) check_elements(steps_ + "result", result, expected.numbers);
    values_.push_back({result, expected.numbers});
    return true;
  }

  // The operations.

  void conv2d() {
    const Value x = input(4, 4);
    const Conv2dOptions options{.stride = pair(1),
                                .padding = pair(0),
                                .dilation = pair(1),
                                .groups = bytes_.one_in(4) ? option(1) : 1};
    const std::int64_t parts = std::clamp<std::int64_t>(options.groups, 1, 8),
                       c_in = size_or(1, x, 1) / parts,
                       c_out = parts * bytes_.one_of<std::int64_t>({1, 2, 3, 0}),
                       k_h = bytes_.one_of<std::int64_t>({3, 1, 2, 3, 1, 2, 5, 0}),
                       k_w = bytes_.one_of<std::int64_t>({3, 1, 2, 3, 1, 2, 5, 0});
    const Value weight = parameter({c_out, c_in, k_h, k_w}, x);
    const Value bias = optional_parameter({size_or(1, weight, 0)}, x);
    const bool is_valid = takes_conv2d(x, weight, bias, options);
    const kernels::Conv2dProblem p =
        is_valid ? reference::conv2d_problem(x.tensor.shape(), weight.tensor.shape(), options)
                 : kernels::Conv2dProblem{};
    if (is_valid && (products_of(p, weight) > max_products || may_be_refused(p))) return;
    step(
        "conv2d", is_valid, {&x, &weight, &bias},
        [&] { return kg::conv2d(x.tensor, weight.tensor, bias.tensor, options); },
        [&]() -> Expected {
          return {{p.n, p.c_out, p.out_h(), p.out_w()},
                  fuzz::conv2d(tape_, p, x.numbers, weight.numbers, bias.numbers)};
        });
  }

  void conv_transpose2d() {
    const Value x = input(4, 4);
    const ConvTranspose2dOptions options{.stride = pair(1),
                                         .padding = pair(0),
                                         .output_padding = bytes_.one_in(2) ? pair(0) : Pair(0),
                                         .dilation = pair(1),
                                         .groups = bytes_.one_in(4) ? option(1) : 1};
    const std::int64_t c_out = bytes_.one_of<std::int64_t>({1, 2, 3, 0}),
                       k_h = bytes_.one_of<std::int64_t>({3, 1, 2, 3, 1, 2, 5, 0}),
                       k_w = bytes_.one_of<std::int64_t>({3, 1, 2, 3, 1, 2, 5, 0});
    const Value weight = parameter({size_or(1, x, 1), c_out, k_h, k_w}, x);
    const std::int64_t groups = std::clamp<std::int64_t>(options.groups, 1, 8);
    const Value bias = optional_parameter({size_or(1, weight, 1) * groups}, x);
    const bool fits = takes_conv_transpose2d(x, weight, bias, options);
    const kernels::Conv2dProblem p =
        fits ? conv_transpose2d_problem(x, weight, options) : kernels::Conv2dProblem{};
    const bool is_valid = fits && p.h >= 1 && p.w >= 1;
    if (is_valid &&
        (elements_of(p) > max_products || products_of(p, weight) > max_products || may_be_refused(p)))
      return;
    step(
        "conv_transpose2d", is_valid, {&x, &weight, &bias},
        [&] { return kg::conv_transpose2d(x.tensor, weight.tensor, bias.tensor, options); },
        [&]() -> Expected {
          return {{p.n, p.c_in, p.h, p.w},
                  fuzz::conv_transpose2d(tape_, p, x.numbers, weight.numbers, bias.numbers)};
        });
  }

  void linear() {
    const Value x = input(1, 4);
    const std::int64_t in_features = x.tensor.defined() && x.tensor.dim() > 0 ? x.size(-1) : 1,
                       out_features = bytes_.one_of<std::int64_t>({3, 1, 2, 5, 10, 0});
    const Value weight = parameter({out_features, in_features}, x);
    const Value bias = optional_parameter({size_or(0, weight, 0)}, x);
    const bool is_valid = agree(x, {&weight}) && weight.has_rank(2) && x.tensor.dim() >= 1 &&
                          x.size(-1) == weight.size(1) && takes_bias(x, bias, weight.size(0));
    Shape shape = is_valid ? x.tensor.shape() : Shape{1};
    shape.back() = 1;
    const std::int64_t rows = product(shape);
    if (is_valid && static_cast<double>(rows * (1 + weight.tensor.numel())) > max_products) return;
    step(
        "linear", is_valid, {&x, &weight, &bias},
        [&] { return kg::linear(x.tensor, weight.tensor, bias.tensor); },
        [&]() -> Expected {
          shape.back() = weight.size(0);
          return {shape, fuzz::linear(tape_, rows, weight.size(1), weight.size(0), x.numbers, weight.numbers,
                                      bias.numbers)};
        });
  }

  void pool2d(bool takes_maximum) {
    const Value x = input(4, 4);
    const Pair kernel = pair(1);
    const PoolOptions options{.stride = pair(0), .padding = pair(0), .count_include_pad = bytes_.one_in(2)};
    const bool is_valid = takes_pool2d(x, kernel, options);
    const kernels::Pool2dProblem p = is_valid ? pool2d_problem(x, kernel, options) : kernels::Pool2dProblem{};
    if (is_valid && pixels_of(p) * static_cast<double>(p.planes) > max_products) return;
    step(
        takes_maximum ? "max_pool2d" : "avg_pool2d", is_valid, {&x},
        [&] {
          return takes_maximum ? kg::max_pool2d(x.tensor, kernel, options)
                               : kg::avg_pool2d(x.tensor, kernel, options);
        },
        [&]() -> Expected {
          return {{x.size(0), x.size(1), p.out_h(), p.out_w()},
                  takes_maximum ? fuzz::max_pool2d(tape_, p, x.numbers)
                                : fuzz::avg_pool2d(tape_, p, options.count_include_pad, x.numbers)};
        });
  }

  void global_avg_pool2d() {
    const Value x = input(4, 4);
    const bool is_valid = x.is_floating() && x.has_rank(4) && x.size(2) >= 1 && x.size(3) >= 1;
    step(
        "global_avg_pool2d", is_valid, {&x}, [&] { return kg::global_avg_pool2d(x.tensor); },
        [&]() -> Expected {
          const kernels::Pool2dProblem p{
              x.size(0) * x.size(1), x.size(2), x.size(3), x.size(2), x.size(3), 1, 1};
          return {{x.size(0), x.size(1), 1, 1}, fuzz::avg_pool2d(tape_, p, true, x.numbers)};
        });
  }

  /// What dropout multiplies elements by with the generator's next draw.
  std::vector<double> dropout_factors(const Shape& shape, DType dtype, double p, Generator generator) {
    std::vector<double> factors = doubles(kg::dropout(Tensor::ones(shape, {.dtype = dtype}), p, generator));
    const Bounded kept{1 / (1 - p), 2 / (1 - p) * precision_of<float>().unit};
    for (double& factor : factors) {
      require(factor == 0 || kept.allows(factor), "dropout: 1 became " + text(factor));
      if (factor != 0) factor = kept.value;
    }
    return factors;
  }
  Indices dropped(const Indices& x, const Shape& shape, DType dtype, double p, Generator generator) {
    const std::vector<double> factors = dropout_factors(shape, dtype, p, generator);
    Indices result;
    for (std::size_t i = 0; i < x.size(); ++i) result.push_back(sum_of(tape_, {x[i]}, factors[i]));
    return result;
  }

  void dropout() {
    const Value x = input(0, 4);
    const double p = probability();
    const Generator before(bytes_.next());
    Generator generator = before;
    step(
        "dropout", x.is_floating() && p >= 0 && p <= 1, {&x},
        [&] { return kg::dropout(x.tensor, p, generator); },
        [&]() -> Expected {
          const Shape& shape = x.tensor.shape();
          return {shape, p == 0 ? x.numbers : dropped(x.numbers, shape, x.tensor.dtype(), p, before)};
        });
  }

  /// Those of an earlier step, if they fit.
  RunningStatistics running_statistics(std::int64_t channels, const Value& x) {
    const DType dtype = x.is_floating() ? x.tensor.dtype() : dtype_;
    if (running_ && running_->mean.has_shape({channels}) && running_->mean.tensor.dtype() == dtype)
      return *running_;
    const std::vector<double> means = any_elements(channels);
    std::vector<double> variances = any_elements(channels);
    for (double& variance : variances) variance *= variance;
    return {leaf({channels}, dtype, means, false), leaf({channels}, dtype, variances, false)};
  }

  BatchNormOptions batch_norm_options(Generator& generator) {
    return {.training = !bytes_.one_in(3),
            .momentum = bytes_.one_in(4) ? number() : 0.1,
            .epsilon = bytes_.one_in(4) ? number() : 1e-5,
            .num_batches_tracked = bytes_.one_in(2) ? Tensor::zeros({}, {.dtype = DType::int64}) : Tensor(),
            .relu_before = bytes_.one_in(3),
            .relu_after = bytes_.one_in(3),
            .dropout = bytes_.one_in(3) ? probability() : 0,
            .generator = &generator};
  }

  void batch_norm() {
    const Value x = input(2, 4);
    const std::int64_t channels = size_or(1, x, 1);
    const Value gamma = optional_parameter({channels}, x);
    const Value beta = gamma.tensor.defined() != bytes_.one_in(32) ? parameter({channels}, x) : Value{};
    RunningStatistics running;
    if (!bytes_.one_in(4)) running = running_statistics(channels, x);
    if (bytes_.one_in(32)) running.mean = {};
    if (bytes_.one_in(32)) running.mean = leaf({channels + 1}, dtype_, any_elements(channels + 1), false);
    const Generator before(bytes_.next());
    Generator generator = before;
    const BatchNormOptions options = batch_norm_options(generator);
    Moments moments{running.mean.numbers, running.variance.numbers};
    const bool succeeded = step(
        "batch_norm", takes_batch_norm(x, gamma, beta, running, options), {&x, &gamma, &beta},
        [&] {
          return kg::batch_norm(x.tensor, gamma.tensor, beta.tensor, running.mean.tensor,
                                running.variance.tensor, options);
        },
        [&]() -> Expected {
          const Shape& shape = x.tensor.shape();
          const Indices normalized = fuzz::batch_norm(tape_, batch_norm_of(x, options), x.numbers,
                                                      gamma.numbers, beta.numbers, moments);
          if (options.dropout == 0) return {shape, normalized};
          return {shape, dropped(normalized, shape, x.tensor.dtype(), options.dropout, before)};
        });
    if (succeeded) check_statistics(running, moments, options);
  }

  /// Those that batch_norm() has left.
  void check_statistics(const RunningStatistics& running, const Moments& expected,
                        const BatchNormOptions& options) {
    if (const Tensor& count = options.num_batches_tracked; count.defined())
      require(count.item() == (options.training ? 1 : 0), steps_ + "num_batches_tracked is wrong");
    if (!running.mean.tensor.defined()) return;
    check_elements(steps_ + "running_mean", running.mean.tensor, expected.mean);
    check_elements(steps_ + "running_var", running.variance.tensor, expected.variance);
    running_ = {{running.mean.tensor, expected.mean}, {running.variance.tensor, expected.variance}};
  }

  /// As the library takes it for a tensor of that type.
  static double rounded(double number, const Value& x) {
    const bool is_single = x.is_floating() && x.tensor.dtype() == DType::float32;
    return is_single ? static_cast<double>(static_cast<float>(number)) : number;
  }
  /// The function with parameters, mostly its own.
  template <class Function>
  Function with_parameters(const Value& x) {
    const auto parameter = [&](double usual) { return rounded(bytes_.one_in(2) ? number() : usual, x); };
    constexpr Function usual;
    if constexpr (requires { usual.negative_slope; }) return {parameter(usual.negative_slope)};
    if constexpr (requires { usual.alpha; }) return {parameter(usual.alpha)};
    if constexpr (requires { usual.exponent; }) return {parameter(usual.exponent)};
    if constexpr (requires { usual.number; }) return {parameter(usual.number)};
    if constexpr (requires { usual.beta; }) {
      const double beta = parameter(usual.beta);
      return {beta, parameter(usual.threshold)};
    }
    if constexpr (requires { usual.min; }) {
      const double least = parameter(usual.min);
      return {least, parameter(usual.max)};
    }
    return {};
  }

  /// The function of one element, by the name that the library has for it.
  static Tensor call(const kernels::Relu&, const Tensor& x) { return kg::relu(x); }
  static Tensor call(const kernels::LeakyRelu& f, const Tensor& x) {
    return kg::leaky_relu(x, f.negative_slope);
  }
  static Tensor call(const kernels::Elu& f, const Tensor& x) { return kg::elu(x, f.alpha); }
  static Tensor call(const kernels::Sigmoid&, const Tensor& x) { return kg::sigmoid(x); }
  static Tensor call(const kernels::Tanh&, const Tensor& x) { return kg::tanh(x); }
  static Tensor call(const kernels::Softplus& f, const Tensor& x) {
    return kg::softplus(x, {.beta = f.beta, .threshold = f.threshold});
  }
  static Tensor call(const kernels::Gelu&, const Tensor& x) { return kg::gelu(x); }
  static Tensor call(const kernels::Silu&, const Tensor& x) { return kg::silu(x); }
  static Tensor call(const kernels::Hardswish&, const Tensor& x) { return kg::hardswish(x); }
  static Tensor call(const kernels::Exp&, const Tensor& x) { return kg::exp(x); }
  static Tensor call(const kernels::Log&, const Tensor& x) { return kg::log(x); }
  static Tensor call(const kernels::Sqrt&, const Tensor& x) { return kg::sqrt(x); }
  static Tensor call(const kernels::Square&, const Tensor& x) { return kg::square(x); }
  static Tensor call(const kernels::Abs&, const Tensor& x) { return kg::abs(x); }
  static Tensor call(const kernels::Neg&, const Tensor& x) { return kg::neg(x); }
  static Tensor call(const kernels::Pow& f, const Tensor& x) { return kg::pow(x, f.exponent); }
  static Tensor call(const kernels::Clamp& f, const Tensor& x) {
    return kg::clamp(x, {.min = f.min, .max = f.max});
  }
  static Tensor call(const kernels::AddNumber& f, const Tensor& x) { return kg::add(x, f.number); }
  static Tensor call(const kernels::SubtractNumber& f, const Tensor& x) { return kg::sub(x, f.number); }
  static Tensor call(const kernels::SubtractFrom& f, const Tensor& x) { return kg::sub(f.number, x); }
  static Tensor call(const kernels::MultiplyBy& f, const Tensor& x) { return kg::mul(x, f.number); }
  static Tensor call(const kernels::DivideBy& f, const Tensor& x) { return kg::div(x, f.number); }
  static Tensor call(const kernels::DivideInto& f, const Tensor& x) { return kg::div(f.number, x); }
  static Tensor call(const kernels::Add&, const Tensor& a, const Tensor& b) { return kg::add(a, b); }
  static Tensor call(const kernels::Sub&, const Tensor& a, const Tensor& b) { return kg::sub(a, b); }
  static Tensor call(const kernels::Mul&, const Tensor& a, const Tensor& b) { return kg::mul(a, b); }
  static Tensor call(const kernels::Div&, const Tensor& a, const Tensor& b) { return kg::div(a, b); }
  static Tensor call(const kernels::Maximum&, const Tensor& a, const Tensor& b) { return kg::maximum(a, b); }
  static Tensor call(const kernels::Minimum&, const Tensor& a, const Tensor& b) { return kg::minimum(a, b); }

  template <class Function>
  void apply(const Function& function, const Value& x) {
    step(
        function.name, x.is_floating(), {&x}, [&] { return call(function, x.tensor); },
        [&]() -> Expected {
          return {x.tensor.shape(),
                  each(x.numbers, [&](Tape::Index i) { return function_of(tape_, function, i); })};
        });
  }
  void relu() { apply(kernels::Relu(), input(0, 4)); }

  /// What the input names of a list of types: `body` is called with a std::type_identity.
  template <class... Functions, class Body>
  void one_of_functions(std::type_identity<std::variant<Functions...>>, const Body& body) {
    std::size_t left = bytes_.below(sizeof...(Functions));
    (void)((left-- == 0 ? (body(std::type_identity<Functions>()), true) : false) || ...);
  }
  void unary() {
    one_of_functions(std::type_identity<kernels::UnaryFunction>(),
                     [&]<class Function>(std::type_identity<Function>) {
                       const Value x = input(0, 4);
                       apply(with_parameters<Function>(x), x);
                     });
  }
  void binary() {
    one_of_functions(std::type_identity<kernels::BinaryFunction>(),
                     [&]<class Function>(std::type_identity<Function>) { combine(Function()); });
  }

  void log_softmax() {
    const Value x = input(1, 4);
    step(
        "log_softmax", x.is_floating() && x.tensor.dim() >= 1 && x.size(-1) >= 1, {&x},
        [&] { return kg::log_softmax(x.tensor); },
        [&]() -> Expected {
          return {x.tensor.shape(), fuzz::log_softmax(tape_, x.size(-1), x.numbers)};
        });
  }

  /// nll_loss, or cross_entropy.
  void loss(bool takes_logits) {
    const Value x = input(2, 2);
    const std::int64_t rows = size_or(1, x, 0), classes = size_or(1, x, 1);
    Value labels = bytes_.one_in(16) ? any_value() : integers({rows}, classes);
    if (labels.tensor.defined() && !labels.is_floating() && bytes_.one_in(4))
      labels.tensor = labels.tensor.to(DType::int32);
    const Reduction reduction = bytes_.one_in(2) ? Reduction::sum : Reduction::mean;
    std::vector<std::int64_t> numbers;
    if (labels.tensor.defined() && !labels.is_floating())
      numbers = labels.tensor.to(DType::int64).to_vector<std::int64_t>();
    const bool is_valid =
        x.is_floating() && x.has_rank(2) && rows >= 1 && labels.tensor.defined() && !labels.is_floating() &&
        labels.has_shape({rows}) &&
        std::ranges::all_of(numbers, [&](std::int64_t label) { return lies_in(label, 0, classes - 1); });
    if (labels.tensor.defined()) values_.push_back(labels);
    step(
        takes_logits ? "cross_entropy" : "nll_loss", is_valid, {&x},
        [&] {
          return takes_logits ? kg::cross_entropy(x.tensor, labels.tensor, reduction)
                              : kg::nll_loss(x.tensor, labels.tensor, reduction);
        },
        [&]() -> Expected {
          const Indices terms = takes_logits ? fuzz::log_softmax(tape_, classes, x.numbers) : x.numbers;
          const double scale = reduction == Reduction::mean ? 1 / static_cast<double>(rows) : 1;
          return {{}, {nll_loss(tape_, classes, scale, terms, numbers)}};
        });
  }

  /// As the other, but for extents of 1 and without some of the outermost dimensions.
  Shape broadcast_from(const Shape& other) {
    Shape shape = other;
    const std::uint8_t ones = bytes_.next();
    for (std::size_t d = 0; d < shape.size(); ++d)
      if (ones >> d & 1) shape[d] = 1;
    shape.erase(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(bytes_.below(shape.size() + 1)));
    return shape;
  }

  template <class Function>
  void combine(const Function& function) {
    Value a = input(0, 4);
    Value b = bytes_.one_in(4)
                  ? any_value()
                  : parameter(broadcast_from(a.tensor.defined() ? a.tensor.shape() : Shape{}), a);
    if (bytes_.one_in(2)) std::swap(a, b);
    Shape shape;
    bool is_valid = agree(a, {&b}) && std::max(a.tensor.dim(), b.tensor.dim()) <= largest_rank;
    for (int from_end = 1; is_valid && from_end <= std::max(a.tensor.dim(), b.tensor.dim()); ++from_end) {
      const std::int64_t in_a = from_end <= a.tensor.dim() ? a.size(-from_end) : 1,
                         in_b = from_end <= b.tensor.dim() ? b.size(-from_end) : 1;
      is_valid = in_a == in_b || in_a == 1 || in_b == 1;
      shape.insert(shape.begin(), in_a == 1 ? in_b : in_a);
    }
    if (is_valid && static_cast<double>(product(shape)) > max_products) return;
    step(
        function.name, is_valid, {&a, &b}, [&] { return call(function, a.tensor, b.tensor); },
        [&]() -> Expected {
          const auto of_elements = [&](Tape::Index x, Tape::Index y) {
            return function_of(tape_, function, x, y);
          };
          return {shape,
                  combined(of_elements, shape, a.tensor.shape(), a.numbers, b.tensor.shape(), b.numbers)};
        });
  }

  void scale() {
    const Value x = input(0, 4);
    const double factor = number();
    step(
        "mul by " + text(factor), x.is_floating(), {&x}, [&] { return kg::mul(x.tensor, factor); },
        [&]() -> Expected {
          return {x.tensor.shape(),
                  each(x.numbers, [&](Tape::Index i) { return sum_of(tape_, {i}, factor); })};
        });
  }

  void reduce(bool divides) {
    const Value x = input(0, 4);
    ReduceOptions options{.dims = {}, .keepdim = bytes_.one_in(2)};
    for (std::size_t count = bytes_.below(4); count > 0; --count)
      options.dims.push_back(static_cast<int>(bytes_.below(10)) - 5);
    bool is_valid = x.is_floating() && x.tensor.dim() <= largest_rank;
    std::vector<bool> reduced(is_valid ? x.tensor.shape().size() : 0, options.dims.empty());
    for (const int dim : options.dims) {
      const int d = dim < 0 && is_valid ? dim + x.tensor.dim() : dim;
      is_valid = is_valid && d >= 0 && d < x.tensor.dim() && !reduced[static_cast<std::size_t>(d)];
      if (is_valid) reduced[static_cast<std::size_t>(d)] = true;
    }
    step(
        divides ? "mean" : "sum", is_valid, {&x},
        [&] { return divides ? kg::mean(x.tensor, options) : kg::sum(x.tensor, options); },
        [&] { return reduced_elements(x, reduced, options.keepdim, divides); });
  }

  Expected reduced_elements(const Value& x, const std::vector<bool>& reduced, bool keepdim, bool divides) {
    Shape kept = x.tensor.shape(), shape;
    double count = 1;
    for (std::size_t d = 0; d < kept.size(); ++d) {
      if (reduced[d]) count *= static_cast<double>(std::exchange(kept[d], 1));
      if (!reduced[d] || keepdim) shape.push_back(kept[d]);
    }
    Terms terms(product(kept));
    for (std::size_t i = 0; i < x.numbers.size(); ++i)
      terms.add(reference::broadcast_index(static_cast<std::int64_t>(i), x.tensor.shape(), kept),
                x.numbers[i]);
    // Without elements the mean is 0 / 0.
    const double factor = divides ? 1 / count : 1;
    return {shape, each(terms.of, [&](const Indices& those) {
              return those.empty() ? tape_.constant(0 * factor) : sum_of(tape_, those, factor);
            })};
  }

  Shape any_shape_of(std::int64_t count) {
    Shape wanted;
    for (std::size_t more = bytes_.below(4); more > 0; --more) {
      const std::int64_t extent = bytes_.one_of<std::int64_t>({1, 2, 3, 4, 5, 6, 8});
      wanted.push_back(count % extent == 0 ? extent : 1);
      count /= wanted.back();
    }
    wanted.push_back(bytes_.one_in(3) ? -1 : count);
    if (bytes_.one_in(32))
      wanted[bytes_.below(wanted.size())] = bytes_.one_of<std::int64_t>(
          {-1, 0, -2, 7, largest_option, std::numeric_limits<std::int64_t>::max()});
    return wanted;
  }

  void reshape() {
    const Value x = any_value();
    const std::int64_t count = x.tensor.defined() ? x.tensor.numel() : 1;
    const Shape wanted = any_shape_of(count);
    const bool succeeded = step(
        "reshape to " + to_string(wanted), x.tensor.defined() && holds(wanted, count), {&x},
        [&] { return kg::reshape(x.tensor, wanted); },
        [&]() -> Expected {
          Shape shape = wanted;
          const auto inferred = std::ranges::find(shape, -1);
          if (inferred != shape.end()) *inferred = count == 0 ? 0 : -count / product(wanted);
          return {shape, x.numbers};
        });
    // Of no elements it may be so large that the sum over a dimension is larger than memory.
    if (succeeded && std::ranges::max(values_.back().tensor.shape()) > max_elements) values_.pop_back();
  }

  void flatten() {
    const Value x = any_value();
    const int start = static_cast<int>(bytes_.below(12)) - 6,
              rank = x.tensor.defined() ? std::max(x.tensor.dim(), 1) : 0;
    const int first = start < 0 ? start + rank : start;
    step(
        "flatten", x.tensor.defined() && first >= 0 && first < rank, {&x},
        [&] { return kg::flatten(x.tensor, start); },
        [&]() -> Expected {
          Shape shape = x.tensor.shape();
          const std::int64_t merged = product(shape, static_cast<std::size_t>(first));
          shape.resize(std::min(shape.size(), static_cast<std::size_t>(first)));
          shape.push_back(merged);
          return {shape, x.numbers};
        });
  }

  void argmax() {
    const Value x = input(2, 2);
    if (!step(
            "argmax", x.is_floating() && x.has_rank(2) && x.size(1) >= 1, {&x},
            [&] { return kg::argmax(x.tensor); },
            [&]() -> Expected {
              return {{x.size(0)}, {}};
            }))
      return;
    const std::vector<double> elements = doubles(x.tensor);
    const std::vector<std::int64_t> columns = values_.back().tensor.to_vector<std::int64_t>();
    for (std::size_t r = 0; r < columns.size(); ++r) {
      const auto row = elements.begin() + static_cast<std::ptrdiff_t>(r) * x.size(1);
      // NaN is another matter: tests/ops/nan_test.cpp.
      if (std::any_of(row, row + x.size(1), [](double v) { return std::isnan(v); })) continue;
      require(std::max_element(row, row + x.size(1)) - row == columns[r], steps_ + "wrong column");
    }
  }

  void convert() {
    const Value x = input(0, 4);
    if (!x.is_floating()) return;
    const DType dtype = bytes_.one_in(2) ? DType::float32 : DType::float64;
    step(
        "to " + std::string(name_of(dtype)), true, {&x}, [&] { return x.tensor.to(dtype); },
        [&]() -> Expected {
          if (dtype == x.tensor.dtype()) return {x.tensor.shape(), x.numbers};
          return {x.tensor.shape(), each(x.numbers, [&](Tape::Index i) { return tape_.rounded(i); })};
        });
  }

  /// Leaves the graph, with the same elements or with a copy.
  void detach() {
    const Value x = any_value();
    const bool copies = bytes_.one_in(2);
    step(
        copies ? "clone" : "detach", x.tensor.defined(), {},
        [&] { return copies ? x.tensor.clone() : x.tensor.detach(); },
        [&]() -> Expected {
          return {x.tensor.shape(), detached(x.numbers)};
        });
  }

  // Overwriting.

  /// Gives the values that `are_meant` other elements, from the tensor given.
  template <class AreMeant>
  void overwrite_numbers(const Tensor& source, const AreMeant& are_meant) {
    const std::vector<double> elements = doubles(source);
    set_precision(source.dtype());
    for (Value& value : values_)
      if (value.is_floating() && are_meant(value))
        for (std::size_t i = 0; i < elements.size(); ++i)
          value.numbers[i] = tape_.overwritten(value.numbers[i], elements[i]);
  }

  Tensor other_elements(const Value& value) {
    if (!value.is_floating()) return Tensor::zeros(value.tensor.shape(), {.dtype = value.tensor.dtype()});
    return Tensor::from(any_elements(value.tensor.numel()), value.tensor.shape()).to(value.tensor.dtype());
  }

  void overwrite() {
    Value target = any_value();
    if (!target.tensor.defined() || target.tensor.numel() == 0) return;
    steps_ += "overwrite, ";
    const Tensor source = other_elements(target);
    const std::byte* memory = target.tensor.bytes().data();
    target.tensor.copy_from(source);
    overwritten_ = true;
    if (target.is_floating())
      overwrite_numbers(source, [&](const Value& value) {
        return value.tensor.numel() > 0 && value.tensor.bytes().data() == memory;
      });
  }

  /// Other memory for a tensor: what has seen the old one goes on with it.
  void set_data() {
    Value target = any_value();
    if (!target.is_floating()) return;
    steps_ += "set_data, ";
    const Tensor source = other_elements(target);
    const bool is_leaf = target.tensor.is_leaf();
    require(succeeds([&] { target.tensor.set_data(source); }) == is_leaf, steps_ + "of a leaf alone");
    if (is_leaf)
      overwrite_numbers(source,
                        [&](const Value& value) { return value.tensor.impl() == target.tensor.impl(); });
  }

  /// False where the program ends.
  bool any_step() {
    using Step = void (*)(Program&);
    static constexpr Step steps[] = {
        [](Program& p) { p.conv2d(); },
        [](Program& p) { p.batch_norm(); },
        [](Program& p) { p.dropout(); },
        [](Program& p) { p.pool2d(true); },
        [](Program& p) { p.pool2d(false); },
        [](Program& p) { p.global_avg_pool2d(); },
        [](Program& p) { p.linear(); },
        [](Program& p) { p.relu(); },
        [](Program& p) { p.log_softmax(); },
        [](Program& p) { p.loss(false); },
        [](Program& p) { p.loss(true); },
        [](Program& p) { p.combine(kernels::Add()); },
        [](Program& p) { p.combine(kernels::Mul()); },
        [](Program& p) { p.scale(); },
        [](Program& p) { p.reduce(false); },
        [](Program& p) { p.reduce(true); },
        [](Program& p) { p.reshape(); },
        [](Program& p) { p.flatten(); },
        [](Program& p) { p.argmax(); },
        [](Program& p) { p.convert(); },
        [](Program& p) { p.detach(); },
        [](Program& p) { p.overwrite(); },
        [](Program& p) { p.set_data(); },
        [](Program& p) { p.unary(); },
        [](Program& p) { p.binary(); },
        [](Program& p) { p.conv_transpose2d(); },
    };
    const std::size_t choice = bytes_.below(std::size(steps) + 1);
    if (choice > 0) steps[choice - 1](*this);
    return choice > 0;
  }

  // Backward.

  void differentiate() {
    const Value output = bytes_.one_in(8) ? any_value() : values_.back();
    if (!output.tensor.defined()) return;
    const bool seeds = output.tensor.numel() != 1 || bytes_.one_in(2), retains = bytes_.one_in(4);
    const Tensor seed = seeds ? other_elements(output) : Tensor();
    const bool is_valid = output.is_floating() && output.tensor.requires_grad();
    const auto backward = [&] {
      seeds ? output.tensor.backward(seed, retains) : output.tensor.backward(retains);
    };
    steps_ += "backward: ";
    if (!succeeds(backward)) return require(!is_valid || overwritten_, steps_ + "refused");
    require(is_valid, steps_ + "accepted though it is not valid");
    const std::vector<Bounded> gradients =
        tape_.gradients(output.numbers, seeds ? doubles(seed) : std::vector<double>{1});
    // One infinity may be NaN anywhere behind it: padding is multiplied too.
    const auto is_finite = [](const Bounded& gradient) { return std::isfinite(gradient.error); };
    if (!tape_.is_finite() || !std::ranges::all_of(gradients, is_finite)) return;
    check_gradients(gradients, 1);
    const bool again = succeeds(backward);
    require(again == (retains || output.tensor.is_leaf()), steps_ + "a second time");
    check_gradients(gradients, again ? 2 : 1);
  }

  /// Of the leaves: each so many times what one backward() adds.
  void check_gradients(const std::vector<Bounded>& gradients, double times) const {
    for (const Value& leaf : leaves_) {
      if (leaf.tensor.numel() == 0) continue;
      const Tensor actual = leaf.tensor.grad();
      require(!actual.defined() || leaf.tensor.requires_grad(), steps_ + "a gradient that was not wanted");
      std::vector<Bounded> expected;
      for (const Tape::Index i : leaf.numbers)
        expected.push_back({times * gradients[i].value, times * gradients[i].error});
      check(steps_ + "gradient of leaf " + std::to_string(&leaf - leaves_.data()),
            actual.defined() ? actual : Tensor::zeros(leaf.tensor.shape()), expected);
    }
  }

  std::optional<RunningStatistics> running_;
  bool overwritten_ = false;
  std::string steps_;  ///< for messages
};

}  // namespace

}  // namespace kg::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  kg::set_num_threads(1);
  kg::fuzz::Program({data, size}).run();
  return 0;
}
