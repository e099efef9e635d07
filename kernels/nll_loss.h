// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/table.h"

namespace kg::kernels {

template <class T>
struct NllLossKernels {
  static constexpr std::string_view operation = "nll_loss";

  /// loss[0] = -scale * sum over r of log_probabilities[r, labels[r]]; NaN if a label lies outside [0,
  /// classes).
  void (*forward)(std::int64_t rows, std::int64_t classes, double scale, const T* log_probabilities,
                  const std::int64_t* labels, T* loss);
  /// grad_input[r,c] = -scale * grad_loss[0] where c == labels[r], otherwise 0.
  void (*backward)(std::int64_t rows, std::int64_t classes, double scale, const T* grad_loss,
                   const std::int64_t* labels, T* grad_input);
};

}  // namespace kg::kernels
