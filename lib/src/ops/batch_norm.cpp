// SPDX-License-Identifier: MIT
#include "kernels/batch_norm.h"

#include <algorithm>
#include <span>

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"
#include "ops/draw_mask.h"

namespace kg {

namespace {

/// Each parameter is [channels]. Where they agree on another number than the input, that is what does not
/// fit.
void check_channels(const check::Argument& input, std::span<const check::Argument> parameters) {
  if (parameters.empty()) return;
  const std::int64_t channels = input.tensor.size(1);
  const check::Argument& first = parameters[0];
  const bool agree = std::ranges::all_of(
      parameters, [&](const check::Argument& other) { return other.tensor.shape() == first.tensor.shape(); });
  if (agree && first.tensor.dim() == 1 && first.tensor.size(0) != channels)
    throw Error(input.described() + " with " + std::to_string(channels) + " channels, expected " +
                std::to_string(first.tensor.size(0)) + " channels as " + std::string(first.name));
  for (const check::Argument& parameter : parameters) check::has_shape(parameter, {channels}, "[channels]");
}

void check_arguments(const Tensor& input, const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
                     const Tensor& running_var, const BatchNormOptions& options) {
  const check::Argument x{"batch_norm", "input", input};
  std::vector<check::Argument> parameters;
  for (const check::Argument& parameter : {check::Argument{"batch_norm", "gamma", gamma},
                                           {"batch_norm", "beta", beta},
                                           {"batch_norm", "running_mean", running_mean},
                                           {"batch_norm", "running_var", running_var}})
    if (parameter.tensor.defined()) parameters.push_back(parameter);
  check::options("batch_norm", options);
  check::is_floating(x);
  for (const check::Argument& parameter : parameters) check::matches(parameter, x);
  if (input.dim() < 2) throw Error(x.described() + ", expected [n, channels, ...]");
  if (gamma.defined() != beta.defined()) check::fail("batch_norm", "gamma and beta must be given together");
  if (running_mean.defined() != running_var.defined())
    check::fail("batch_norm", "running_mean and running_var must be given together");
  if (!running_mean.defined() && !options.training)
    check::fail("batch_norm", "inference needs running_mean and running_var");
  check_channels(x, parameters);
  if (const Tensor& count = options.num_batches_tracked; count.defined()) {
    const check::Argument argument{"batch_norm", "num_batches_tracked", count};
    if (count.dtype() != DType::int64 || count.numel() != 1 || count.device() != input.device())
      throw Error(argument.described() + ", expected one int64 on " + input.device().name());
  }
  if (options.training && input.numel() / 2 < input.size(1))
    throw Error(x.described() + ", expected more than one value per channel to normalise with in training");
}

kernels::BatchNormProblem problem_of(const Tensor& input, const BatchNormOptions& options) {
  kernels::BatchNormProblem problem{
      .n = input.numel() == 0 ? 0 : input.size(0),
      .channels = input.size(1),
      .plane = input.numel() == 0 ? 0 : input.numel() / input.size(0) / input.size(1),
      .epsilon = options.epsilon,
      .relu_before = options.relu_before,
      .relu_after = options.relu_after};
  if (options.dropout > 0)
    problem.dropout =
        draw_mask(options.dropout, options.generator ? *options.generator : default_generator());
  return problem;
}

}  // namespace

Tensor batch_norm(const Tensor& input, const Tensor& gamma, const Tensor& beta, const Tensor& running_mean,
                  const Tensor& running_var, const BatchNormOptions& options) try {
  check_arguments(input, gamma, beta, running_mean, running_var, options);
  const kernels::BatchNormProblem problem = problem_of(input, options);
  const TensorOptions like = input.options();
  const Shape per_channel = {problem.channels};
  Tensor output = unwritten(input.shape(), like);
  // A copy of the running mean in inference: what backward needs must not change when training goes on.
  const Tensor mean = options.training ? Tensor::empty(per_channel, like) : running_mean.clone();
  const Tensor inv_std = Tensor::empty(per_channel, like);
  if (options.training)
    for (Tensor statistic : {running_mean, running_var, options.num_batches_tracked})
      if (statistic.defined()) statistic.bump_version();
  const bool affine = gamma.defined();
  const Description description = problem.description().note(", no gamma", !affine);
  if (options.training) {
    // The statistics are left out when it is rehearsed: they must move once.
    const auto forward = [&](const Tensor& to_mean, const Tensor& to_var, const Tensor& to_count) {
      return [&](const auto& kernels) {
        compute(kernels.forward_training, problem, input, gamma, beta, options.momentum, to_mean, to_var,
                to_count, mean, inv_std, output);
      };
    };
    const Tensor none;
    dispatch::run<kernels::BatchNormKernels>("forward_training", like, description,
                                             forward(running_mean, running_var, options.num_batches_tracked),
                                             forward(none, none, none));
  } else {
    dispatch::run<kernels::BatchNormKernels>(
        "forward_inference", like, description, [&](const auto& kernels) {
          compute(kernels.forward_inference, problem, input, gamma, beta, mean, running_var, inv_std, output);
        });
  }
  const bool saves_gamma = input.requires_grad() || problem.relu_after;
  const SavedTensor saved_input(input, "input"), saved_gamma(saves_gamma ? gamma : Tensor(), "gamma"),
      saved_beta(problem.relu_after ? beta : Tensor(), "beta");
  const auto rule = [=, training = options.training](const BackwardCall& call) {
    const Tensor x = saved_input.unpack(call);
    std::vector<Tensor> gradients(3);
    if (call.needs[0]) gradients[0] = unwritten(x.shape(), like);
    if (affine) gradients[1] = Tensor::empty(per_channel, like);
    if (affine) gradients[2] = Tensor::empty(per_channel, like);
    const Tensor scale = saved_gamma.unpack(call), shift = saved_beta.unpack(call);
    dispatch::run<kernels::BatchNormKernels>("backward", like,
                                             Description(description)
                                                 .note(", given statistics", !training)
                                                 .note(", no grad_input", !gradients[0].defined())
                                                 .note(", gamma not needed", affine && !scale.defined()),
                                             [&](const auto& kernels) {
                                               compute(kernels.backward, problem, training, x,
                                                       call.grad_output, scale, shift, mean, inv_std,
                                                       gradients[0], gradients[1], gradients[2]);
                                             });
    return gradients;
  };
  return record("batch_norm", output, {input, gamma, beta}, rule);
} catch (const std::bad_alloc&) {
  no_memory("batch_norm");
}

}  // namespace kg
