// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/table.h"

namespace kg::kernels {

template <class T>
struct LogSoftmaxKernels {
  static constexpr std::string_view operation = "log_softmax";

  /// output[r,c] = input[r,c] - log(sum over k of exp(input[r,k])), computed about the row's maximum.
  void (*forward)(std::int64_t rows, std::int64_t classes, const T* input, T* output);
  /// grad_input[r,c] = grad_output[r,c] - exp(output[r,c]) * (sum over k of grad_output[r,k]), where output
  /// is forward's.
  void (*backward)(std::int64_t rows, std::int64_t classes, const T* output, const T* grad_output,
                   T* grad_input);
};

}  // namespace kg::kernels
