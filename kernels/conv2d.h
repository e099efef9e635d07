// SPDX-License-Identifier: MIT
#pragma once

#include <compare>
#include <cstdint>
#include <string_view>

#include "kernels/description.h"
#include "kernels/form.h"
#include "kernels/table.h"

namespace kg::kernels {

/// A 2-d convolution (cross-correlation, as torch.nn.functional.conv2d defines it) over contiguous NCHW
/// arrays: input [n, c_in, h, w], weight [c_out, c_in / groups, k_h, k_w], bias [c_out], output [n, c_out,
/// out_h, out_w].
struct Conv2dProblem {
  std::int64_t n, c_in, h, w, c_out, k_h, k_w;
  std::int64_t stride_h = 1, stride_w = 1, padding_h = 0, padding_w = 0, dilation_h = 1, dilation_w = 1;
  std::int64_t groups = 1;

  std::int64_t out_h() const { return (h + 2 * padding_h - dilation_h * (k_h - 1) - 1) / stride_h + 1; }
  std::int64_t out_w() const { return (w + 2 * padding_w - dilation_w * (k_w - 1) - 1) / stride_w + 1; }

  /// "128x8x24x24, weight 16x8x3x3", then what differs from the defaults: " stride 2x2 padding 1x1".
  Description description() const {
    return Description()
        .extents("", {n, c_in, h, w})
        .extents(", weight ", {c_out, c_in / groups, k_h, k_w})
        .option(" stride ", stride_h, stride_w, 1)
        .option(" padding ", padding_h, padding_w, 0)
        .option(" dilation ", dilation_h, dilation_w, 1)
        .option(" groups ", groups, 1);
  }

  auto operator<=>(const Conv2dProblem&) const = default;
};

template <class T>
struct Conv2dKernels {
  static constexpr std::string_view operation = "conv2d";

  /// output[n,o,y,x] = bias[o] + sum over (c, i, j) of
  ///   weight[o,c,i,j] * input[n, c, y*stride - padding + i*dilation, x*stride - padding + j*dilation],
  /// where input outside the image is 0. `bias` may be null.
  void (*forward)(const Conv2dProblem&, Input<T> input, const T* weight, const T* bias, Output<T> output);
  /// grad_input = the transpose of `forward` in its input, applied to grad_output. Every element is written.
  void (*backward_input)(const Conv2dProblem&, Input<T> grad_output, const T* weight, Output<T> grad_input);
  /// grad_weight = the transpose of `forward` in its weight, summed over the batch. Every element is written.
  void (*backward_weight)(const Conv2dProblem&, Input<T> input, Input<T> grad_output, T* grad_weight);
  /// grad_bias[o] = sum over (n, y, x) of grad_output[n,o,y,x].
  void (*backward_bias)(const Conv2dProblem&, Input<T> grad_output, T* grad_bias);
  /// backward_input and backward_weight in one, where an implementation gains by it; otherwise null.
  void (*backward)(const Conv2dProblem&, Input<T> input, const T* weight, Input<T> grad_output,
                   Output<T> grad_input, T* grad_weight) = nullptr;
};

}  // namespace kg::kernels
