// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/table.h"

namespace kg::kernels {

/// nll_loss(log_softmax(logits)) without the tensor in between.
template <class T>
struct CrossEntropyKernels {
  static constexpr std::string_view operation = "cross_entropy";

  /// loss[0] = scale * sum over r of (log(sum over k of exp(logits[r,k])) - logits[r, labels[r]]), computed
  /// about each row's maximum; NaN if a label lies outside [0, classes).
  void (*forward)(std::int64_t rows, std::int64_t classes, double scale, const T* logits,
                  const std::int64_t* labels, T* loss);
  /// grad_logits[r,c] = scale * grad_loss[0] * (softmax(logits)[r,c] - (c == labels[r])); 0 in a row whose
  /// label lies outside [0, classes).
  void (*backward)(std::int64_t rows, std::int64_t classes, double scale, const T* grad_loss, const T* logits,
                   const std::int64_t* labels, T* grad_logits);
};

}  // namespace kg::kernels
