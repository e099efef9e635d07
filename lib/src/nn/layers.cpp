#include <cmath>

#include "kernelgrad/nn.h"
#include "kernelgrad/random.h"

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

Conv2d::Conv2d(std::int64_t in_channels, std::int64_t out_channels, Pair kernel, const Conv2dOptions& options)
    : options_{.stride = options.stride,
               .padding = options.padding,
               .dilation = options.dilation,
               .groups = options.groups} {
  if (in_channels < 1 || out_channels < 1 || options.groups < 1 || in_channels % options.groups != 0 ||
      out_channels % options.groups != 0)
    throw Error("Conv2d: " + std::to_string(in_channels) + " input and " + std::to_string(out_channels) +
                " output channels cannot be split into " + std::to_string(options.groups) + " groups");
  if (kernel.h < 1 || kernel.w < 1) throw Error("Conv2d: the kernel must be at least 1 wide");
  const std::int64_t fan_in = in_channels / options.groups * kernel.h * kernel.w;
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  weight_ = register_parameter(
      "weight", uniform({out_channels, in_channels / options.groups, kernel.h, kernel.w}, bound));
  bias_ = register_parameter("bias", options.bias ? uniform({out_channels}, bound) : Tensor());
}

Tensor Conv2d::forward(const Tensor& x) { return conv2d(x, weight_, bias_, options_); }

Linear::Linear(std::int64_t in_features, std::int64_t out_features, const LinearOptions& options) {
  if (in_features < 1 || out_features < 1)
    throw Error("Linear: " + std::to_string(in_features) + " input and " + std::to_string(out_features) +
                " output features, expected at least one of each");
  const double bound = 1 / std::sqrt(static_cast<double>(in_features));
  weight_ = register_parameter("weight", uniform({out_features, in_features}, bound));
  bias_ = register_parameter("bias", options.bias ? uniform({out_features}, bound) : Tensor());
}

Tensor Linear::forward(const Tensor& x) { return linear(x, weight_, bias_); }

BatchNorm2d::BatchNorm2d(std::int64_t channels, const BatchNorm2dOptions& options) : options_(options) {
  if (channels < 1)
    throw Error("BatchNorm2d: " + std::to_string(channels) + " channels, expected at least one");
  weight_ = register_parameter("weight", Tensor::ones({channels}));
  bias_ = register_parameter("bias", Tensor::zeros({channels}));
  running_mean_ = register_buffer("running_mean", Tensor::zeros({channels}));
  running_var_ = register_buffer("running_var", Tensor::ones({channels}));
  num_batches_tracked_ = register_buffer("num_batches_tracked", Tensor::zeros({}, {.dtype = DType::int64}));
}

Tensor BatchNorm2d::forward_fused(const Tensor& x, const Neighbours& neighbours) {
  if (x.dim() != 4)
    throw Error("BatchNorm2d: the input has shape " + to_string(x.shape()) +
                ", expected [n, channels, h, w]");
  return batch_norm(x, weight_, bias_, running_mean_, running_var_,
                    {.training = is_training(),
                     .momentum = options_.momentum,
                     .epsilon = options_.epsilon,
                     .num_batches_tracked = num_batches_tracked_,
                     .relu_before = neighbours.relu_before,
                     .relu_after = neighbours.relu_after,
                     .dropout = neighbours.dropout});
}

Dropout::Dropout(double p) : p_(p) {
  if (!(p >= 0 && p <= 1)) throw Error("Dropout: p = " + std::to_string(p) + ", expected a probability");
}

}  // namespace kg::nn
