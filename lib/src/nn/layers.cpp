// SPDX-License-Identifier: MIT
#include <cmath>

#include "kernelgrad/nn.h"
#include "kernelgrad/random.h"
#include "ops/check.h"

namespace kg::nn {

namespace {

/// Uniform in +-bound. Each call draws at an address of its own, so that equal layers start differently.
Tensor uniform(Shape shape, double bound) {
  Generator& generator = default_generator();
  RandomStream random(generator.seed(), RandomPurpose::initialization,
                      static_cast<std::uint32_t>(generator.draw()));
  Tensor tensor = Tensor::empty(std::move(shape));
  for (float& value : tensor.span<float>()) value = static_cast<float>(random.uniform(-bound, bound));
  return tensor;
}

}  // namespace

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, Pair kernel,
               const Conv2dOptions& options) try
    : options_(options) {
  if (in_channels < 1 || out_channels < 1 || options.groups < 1 || in_channels % options.groups != 0 ||
      out_channels % options.groups != 0)
    check::fail("Conv2d", std::to_string(in_channels) + " input and " + std::to_string(out_channels) +
                              " output channels cannot be split into " + std::to_string(options.groups) +
                              " groups");
  check::is_sensible("Conv2d", "in_channels", in_channels, 1);
  check::is_sensible("Conv2d", "out_channels", out_channels, 1);
  check::both_sensible("Conv2d", "kernel", kernel, 1);
  check::options("Conv2d", options_);
  const std::int64_t group_channels = in_channels / options.groups;
  const double fan_in =
      static_cast<double>(group_channels) * static_cast<double>(kernel.h) * static_cast<double>(kernel.w);
  const double bound = 1 / std::sqrt(fan_in);
  weight_ = register_parameter("weight", uniform({out_channels, group_channels, kernel.h, kernel.w}, bound));
  bias_ = register_parameter("bias", options.bias ? uniform({out_channels}, bound) : Tensor());
} catch (const std::bad_alloc&) {
  no_memory("Conv2d");
}

Tensor Conv2d::forward(const Tensor& input) {
  check::matches({"conv2d", "input", input}, {"conv2d", "weight", weight_});
  return conv2d(input, weight_, bias_, options_);
}

Linear::Linear(std::int64_t in_features, std::int64_t out_features, const LinearOptions& options) try {
  if (in_features < 1 || out_features < 1)
    check::fail("Linear", std::to_string(in_features) + " input and " + std::to_string(out_features) +
                              " output features, expected at least one of each");
  check::is_sensible("Linear", "in_features", in_features, 1);
  check::is_sensible("Linear", "out_features", out_features, 1);
  const double bound = 1 / std::sqrt(static_cast<double>(in_features));
  weight_ = register_parameter("weight", uniform({out_features, in_features}, bound));
  bias_ = register_parameter("bias", options.bias ? uniform({out_features}, bound) : Tensor());
} catch (const std::bad_alloc&) {
  no_memory("Linear");
}

Tensor Linear::forward(const Tensor& input) {
  check::matches({"linear", "input", input}, {"linear", "weight", weight_});
  return linear(input, weight_, bias_);
}

BatchNorm2d::BatchNorm2d(std::int64_t channels, const BatchNorm2dOptions& options) try : options_(options) {
  if (channels < 1) check::fail("BatchNorm2d", std::to_string(channels) + " channels, expected at least one");
  check::is_sensible("BatchNorm2d", "channels", channels, 1);
  check::options("BatchNorm2d", BatchNormOptions{.momentum = options.momentum, .epsilon = options.epsilon});
  weight_ = register_parameter("weight", Tensor::ones({channels}));
  bias_ = register_parameter("bias", Tensor::zeros({channels}));
  running_mean_ = register_buffer("running_mean", Tensor::zeros({channels}));
  running_var_ = register_buffer("running_var", Tensor::ones({channels}));
  num_batches_tracked_ = register_buffer("num_batches_tracked", Tensor::zeros({}, {.dtype = DType::int64}));
} catch (const std::bad_alloc&) {
  no_memory("BatchNorm2d");
}

Tensor BatchNorm2d::forward_fused(const Tensor& input, const BatchNormOptions& neighbours) {
  return named([&] { return normalized(input, neighbours); });
}

Tensor BatchNorm2d::normalized(const Tensor& input, BatchNormOptions options) {
  const check::Argument x{"batch_norm", "input", input};
  check::matches(x, {"batch_norm", "weight", weight_});
  check::has_rank(x, 4, "[n, channels, h, w]");
  options.training = is_training();
  options.momentum = options_.momentum;
  options.epsilon = options_.epsilon;
  options.num_batches_tracked = num_batches_tracked_;
  return batch_norm(input, weight_, bias_, running_mean_, running_var_, options);
}

Dropout::Dropout(double p) : p_(p) { check::is_probability("Dropout", "p", p); }

Pool2d::Pool2d(std::string_view type, Pair kernel, const PoolOptions& options)
    : kernel_(kernel), options_(options) {
  check::options(type, kernel, options);
}

Functional::Functional(std::function<Tensor(const Tensor&)> function) : function_(std::move(function)) {
  if (!function_) check::fail("Functional", "the function is empty");
}

}  // namespace kg::nn
