// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/description.h"
#include "kernels/table.h"

namespace kg::kernels {

/// input [rows, in_features], weight [out_features, in_features], bias [out_features], output [rows,
/// out_features].
struct LinearProblem {
  std::int64_t rows, in_features, out_features;

  /// "128 rows, 784 -> 10 features".
  Description description() const {
    return Description()
        .extents("", {rows})
        .extents(" rows, ", {in_features})
        .extents(" -> ", {out_features})
        .note(" features");
  }
};

template <class T>
struct LinearKernels {
  static constexpr std::string_view operation = "linear";

  /// output = input weight^T + bias. `bias` may be null.
  void (*forward)(const LinearProblem&, const T* input, const T* weight, const T* bias, T* output);
  /// grad_input = grad_output weight.
  void (*backward_input)(const LinearProblem&, const T* grad_output, const T* weight, T* grad_input);
  /// grad_weight = grad_output^T input.
  void (*backward_weight)(const LinearProblem&, const T* input, const T* grad_output, T* grad_weight);
  /// grad_bias[o] = sum over the rows of grad_output[r, o].
  void (*backward_bias)(const LinearProblem&, const T* grad_output, T* grad_bias);
};

}  // namespace kg::kernels
