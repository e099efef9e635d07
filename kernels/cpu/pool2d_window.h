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

}  // namespace kg::kernels::cpu
