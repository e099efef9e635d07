// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "kernels/pool2d_problem.h"

namespace kg::kernels::cpu {

/// Planes that one task pools.
inline constexpr std::int64_t planes_per_task = 32;

/// The part of a pooling window that lies inside the image, in rows or columns.
struct Window {
  std::int64_t begin, end;
};

inline Window window_rows(const Pool2dProblem& p, std::int64_t y) {
  const std::int64_t first = y * p.stride_h - p.padding_h;
  return {std::max<std::int64_t>(first, 0), std::min(first + p.k_h, p.h)};
}

inline Window window_columns(const Pool2dProblem& p, std::int64_t x) {
  const std::int64_t first = x * p.stride_w - p.padding_w;
  return {std::max<std::int64_t>(first, 0), std::min(first + p.k_w, p.w)};
}

/// Max pooling with windows of 2x2 side by side, by far the most common, in SIMD: the general loop, with its
/// bounds and unpredictable branches, took a fifteenth of the training step. Of one image of h x w, with its
/// [h / 2][w / 2] windows.
template <class T>
struct PairLoops {
  void (*forward)(std::int64_t h, std::int64_t w, const T* input, T* output, std::int32_t* argmax);
  void (*backward)(std::int64_t h, std::int64_t w, const T* grad_output, const std::int32_t* argmax,
                   T* grad_input);
};

}  // namespace kg::kernels::cpu
