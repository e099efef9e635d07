// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/conv2d.h"
#include "kernels/parallel.h"

/// Which rows meet which in a convolution, and columns likewise.
namespace kg::kernels::cpu {

/// One direction, vertical or horizontal, of a convolution.
struct Axis {
  std::int64_t in, out, kernel, stride, padding, dilation;
};

inline Axis vertical(const Conv2dProblem& p) {
  return {p.h, p.out_h(), p.k_h, p.stride_h, p.padding_h, p.dilation_h};
}
inline Axis horizontal(const Conv2dProblem& p) {
  return {p.w, p.out_w(), p.k_w, p.stride_w, p.padding_w, p.dilation_w};
}

/// The input gradient, sorted by remainder likewise: input row q * stride + phase gets grad_output row
/// (q * stride + phase + padding - i * dilation) / stride for those taps i where that is a whole number.
struct GradientAxis {
  Axis axis;
  std::int64_t before;  ///< Zero rows before grad_output's first, so that no tap reaches above.
  std::int64_t extent;  ///< Rows of grad_output, zeros included.

  explicit GradientAxis(const Axis& a) : axis(a), before(0), extent(0) {
    std::int64_t last = a.out;
    for (std::int64_t phase = 0; phase < a.stride; ++phase)
      for (std::int64_t i = 0; i < a.kernel; ++i) {
        if (!has_tap(phase, i)) continue;
        before = std::max(before, -shift(phase, i));
        last = std::max(last, rows(phase) + shift(phase, i));
      }
    extent = before + last;
  }
  std::int64_t phases() const { return axis.stride; }
  std::int64_t rows(std::int64_t phase) const {
    return std::max<std::int64_t>(0, ceil_div(axis.in - phase, axis.stride));
  }
  bool has_tap(std::int64_t phase, std::int64_t i) const {
    return (phase + axis.padding - i * axis.dilation) % axis.stride == 0;
  }
  std::int64_t shift(std::int64_t phase, std::int64_t i) const {
    return (phase + axis.padding - i * axis.dilation) / axis.stride;
  }
};

}  // namespace kg::kernels::cpu
