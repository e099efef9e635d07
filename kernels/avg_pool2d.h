// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/form.h"
#include "kernels/pool2d_problem.h"
#include "kernels/table.h"

namespace kg::kernels {

template <class T>
struct AvgPool2dKernels {
  static constexpr std::string_view operation = "avg_pool2d";

  /// output[z,y,x] = sum of the window / divisor, which is k_h * k_w, or with count_include_pad = false the
  /// number of window cells that lie inside the image.
  void (*forward)(const Pool2dProblem&, bool count_include_pad, Input<T> input, T* output);
  /// grad_input[z,p] = sum of grad_output / divisor over the windows that contain p. Every element is
  /// written.
  void (*backward)(const Pool2dProblem&, bool count_include_pad, const T* grad_output, Output<T> grad_input);
};

}  // namespace kg::kernels
