// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/form.h"
#include "kernels/table.h"

namespace kg::kernels {

template <class T>
struct GlobalAvgPool2dKernels {
  static constexpr std::string_view operation = "global_avg_pool2d";

  /// output[z] = mean of input[z, 0 .. plane).
  void (*forward)(std::int64_t planes, std::int64_t plane, Input<T> input, T* output);
  /// grad_input[z, i] = grad_output[z] / plane.
  void (*backward)(std::int64_t planes, std::int64_t plane, const T* grad_output, Output<T> grad_input);
};

}  // namespace kg::kernels
