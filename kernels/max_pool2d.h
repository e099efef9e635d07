// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/form.h"
#include "kernels/pool2d_problem.h"
#include "kernels/table.h"

namespace kg::kernels {

template <class T>
struct MaxPool2dKernels {
  static constexpr std::string_view operation = "max_pool2d";

  /// output[z,y,x] = the largest input in the window; padding never wins, NaN always does. argmax[z,y,x] =
  /// y*w + x of the winner in its plane, the first in row-major order among equals.
  void (*forward)(const Pool2dProblem&, Input<T> input, Output<T> output, Output<std::int32_t> argmax);
  /// grad_input[z,p] = sum of grad_output over the windows whose argmax is p. Every element is written.
  /// `input` and `output` are forward's.
  void (*backward)(const Pool2dProblem&, Input<T> input, Input<T> output, Input<T> grad_output,
                   Input<std::int32_t> argmax, Output<T> grad_input);
  /// What backward goes by. True: argmax; input and output may be null. False: input and output; argmax may
  /// be null, in forward too, and which of equals is the winner is the implementation's choice.
  bool uses_argmax;
};

}  // namespace kg::kernels
