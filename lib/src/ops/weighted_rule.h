// SPDX-License-Identifier: MIT
#pragma once

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"

namespace kg {

/// Whether tensors `like` these get both gradients in one call. Nobody has a choice of implementations then.
template <template <class> class Kernels>
bool has_joint_backward(const TensorOptions& like) {
  bool has = false;
  if constexpr (requires { Kernels<float>::backward; })
    if (like.device.is_cpu())
      dispatch::with_table<Kernels>(Backend::native, like,
                                    [&](const auto& kernels) { has = kernels.backward != nullptr; });
  return has;
}

/// The backward rule of an operation on input, weight and bias, which may be undefined: the gradient of each
/// that wants one. The weight's needs the input and the other way round, so each is saved only if the other's
/// gradient is wanted.
template <template <class> class Kernels, class Problem>
BackwardRule weighted_rule(const Problem& problem, const Tensor& input, const Tensor& weight,
                           const Tensor& bias) {
  const SavedTensor saved_input(weight.requires_grad() ? input : Tensor(), "input");
  const SavedTensor saved_weight(input.requires_grad() ? weight : Tensor(), "weight");
  return [=, like = input.options(), input_shape = input.shape(), weight_shape = weight.shape(),
          with_bias = bias.defined()](const BackwardCall& call) {
    std::vector<Tensor> gradients(3);
    const auto run = [&](std::string_view function, const auto& body) {
      dispatch::run<Kernels>(function, like, problem.description(), body);
    };
    if (call.needs[0]) gradients[0] = unwritten(input_shape, like);
    if (call.needs[1]) gradients[1] = Tensor::empty(weight_shape, like);
    const Tensor x = saved_input.unpack(call), w = saved_weight.unpack(call);
    if (call.needs[0] && call.needs[1] && has_joint_backward<Kernels>(like)) {
      run("backward", [&](const auto& kernels) {
        if constexpr (requires { kernels.backward; })
          compute(kernels.backward, problem, x, w, call.grad_output, gradients[0], gradients[1]);
      });
    } else {
      if (call.needs[0])
        run("backward_input", [&](const auto& kernels) {
          compute(kernels.backward_input, problem, call.grad_output, w, gradients[0]);
        });
      if (call.needs[1])
        run("backward_weight", [&](const auto& kernels) {
          compute(kernels.backward_weight, problem, x, call.grad_output, gradients[1]);
        });
    }
    if (with_bias && call.needs[2]) {
      gradients[2] = Tensor::empty({weight_shape[0]}, like);
      run("backward_bias", [&](const auto& kernels) {
        compute(kernels.backward_bias, problem, call.grad_output, gradients[2]);
      });
    }
    return gradients;
  };
}

}  // namespace kg
