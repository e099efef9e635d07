// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/description.h"
#include "kernels/dropout.h"
#include "kernels/form.h"
#include "kernels/table.h"

namespace kg::kernels {

/// Batch normalisation (Ioffe & Szegedy, 2015) of [n, channels, plane], with the element-wise operations
/// around it that would otherwise each be a pass over memory of their own:
///
///   output = dropout(relu_after(gamma * (relu_before(input) - mean) / sqrt(variance + epsilon) + beta))
///
/// relu_before and relu_after are the identity unless set, dropout is unless dropout.p > 0. `gamma` and
/// `beta` [channels] may be null together: 1 and 0.
struct BatchNormProblem {
  std::int64_t n, channels, plane;
  double epsilon = 1e-5;
  bool relu_before = false, relu_after = false;
  DropoutProblem dropout = {};

  /// "128x16x576, relu before, dropout".
  Description description() const {
    return Description()
        .extents("", {n, channels, plane})
        .note(", relu before", relu_before)
        .note(", relu after", relu_after)
        .note(", dropout", dropout.p > 0);
  }
};

template <class T>
struct BatchNormKernels {
  static constexpr std::string_view operation = "batch_norm";

  /// Normalises with the batch's mean and biased variance over (n, plane); writes mean and 1 / sqrt(variance
  /// + epsilon) for backward. If running_mean is not null: running = (1 - momentum) * running + momentum *
  /// batch, where the variance's batch value is the unbiased one; and if num_batches_tracked is not null, it
  /// goes up by one.
  void (*forward_training)(const BatchNormProblem&, Input<T> input, const T* gamma, const T* beta,
                           double momentum, T* running_mean, T* running_var,
                           std::int64_t* num_batches_tracked, T* mean, T* inv_std, Output<T> output);
  /// Normalises with given mean and variance; writes 1 / sqrt(variance + epsilon) for backward.
  void (*forward_inference)(const BatchNormProblem&, Input<T> input, const T* gamma, const T* beta,
                            const T* mean, const T* var, T* inv_std, Output<T> output);
  /// Gradients of either forward. `batch_statistics`: mean and inv_std depend on the input (training).
  /// grad_input may be null; grad_gamma and grad_beta may be null together. So may gamma where grad_input is
  /// and relu_after is not set, and beta where relu_after is not set: they are of no consequence then.
  void (*backward)(const BatchNormProblem&, bool batch_statistics, Input<T> input, Input<T> grad_output,
                   const T* gamma, const T* beta, const T* mean, const T* inv_std, Output<T> grad_input,
                   T* grad_gamma, T* grad_beta);
};

}  // namespace kg::kernels
