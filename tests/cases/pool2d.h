// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <string>

#include "kernels/pool2d_problem.h"

namespace kg::cases {

/// For max_pool2d, avg_pool2d and, of which only the images count, global_avg_pool2d.
inline constexpr kernels::Pool2dProblem pool2d[] = {
    {.planes = 1, .h = 1, .w = 1, .k_h = 1, .k_w = 1, .stride_h = 1, .stride_w = 1},
    {.planes = 3, .h = 1, .w = 33, .k_h = 1, .k_w = 2, .stride_h = 1, .stride_w = 2},
    {.planes = 2, .h = 31, .w = 1, .k_h = 3, .k_w = 1, .stride_h = 3, .stride_w = 1},
    {.planes = 7, .h = 6, .w = 8, .k_h = 2, .k_w = 2, .stride_h = 2, .stride_w = 2},
    {.planes = 33, .h = 5, .w = 7, .k_h = 2, .k_w = 2, .stride_h = 2, .stride_w = 2},
    {.planes = 65, .h = 3, .w = 3, .k_h = 3, .k_w = 3, .stride_h = 3, .stride_w = 3},
    {.planes = 1, .h = 7, .w = 65, .k_h = 2, .k_w = 2, .stride_h = 2, .stride_w = 2},
    // The layers of s7_final.
    {.planes = 8, .h = 22, .w = 22, .k_h = 2, .k_w = 2, .stride_h = 2, .stride_w = 2},
    {.planes = 10, .h = 7, .w = 7, .k_h = 7, .k_w = 7, .stride_h = 7, .stride_w = 7},
    // Overlapping windows, and windows with gaps between them.
    {.planes = 2, .h = 7, .w = 9, .k_h = 3, .k_w = 3, .stride_h = 1, .stride_w = 1},
    {.planes = 2, .h = 9, .w = 7, .k_h = 3, .k_w = 3, .stride_h = 2, .stride_w = 2},
    {.planes = 1, .h = 8, .w = 8, .k_h = 5, .k_w = 4, .stride_h = 2, .stride_w = 3},
    {.planes = 2, .h = 11, .w = 10, .k_h = 2, .k_w = 1, .stride_h = 3, .stride_w = 4},
    {.planes = 1, .h = 5, .w = 5, .k_h = 2, .k_w = 2, .stride_h = 7, .stride_w = 9},
    // Padded.
    {.planes = 2,
     .h = 7,
     .w = 7,
     .k_h = 3,
     .k_w = 3,
     .stride_h = 2,
     .stride_w = 2,
     .padding_h = 1,
     .padding_w = 1},
    {.planes = 3,
     .h = 6,
     .w = 5,
     .k_h = 2,
     .k_w = 2,
     .stride_h = 2,
     .stride_w = 2,
     .padding_h = 1,
     .padding_w = 1},
    {.planes = 1,
     .h = 1,
     .w = 1,
     .k_h = 2,
     .k_w = 3,
     .stride_h = 1,
     .stride_w = 1,
     .padding_h = 1,
     .padding_w = 1},
    {.planes = 2,
     .h = 4,
     .w = 9,
     .k_h = 5,
     .k_w = 4,
     .stride_h = 1,
     .stride_w = 3,
     .padding_h = 2,
     .padding_w = 0},
    {.planes = 2,
     .h = 5,
     .w = 6,
     .k_h = 7,
     .k_w = 6,
     .stride_h = 3,
     .stride_w = 2,
     .padding_h = 3,
     .padding_w = 3},
};

/// Kernel, stride and padding that differ between height and width, each alone and with the others.
inline constexpr std::array<kernels::Pool2dProblem, 27> pool2d_unequal = [] {
  constexpr std::int64_t taller[] = {0, 1, 0}, wider[] = {0, 0, 1};
  std::array<kernels::Pool2dProblem, 27> all{};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t kernel = i % 3, stride = i / 3 % 3, padding = i / 9;
    all[i] = {.planes = 3,
              .h = 9,
              .w = 12,
              .k_h = 2 + taller[kernel],
              .k_w = 2 + wider[kernel],
              .stride_h = 2 - wider[stride],
              .stride_w = 2 - taller[stride],
              .padding_h = taller[padding],
              .padding_w = wider[padding]};
  }
  return all;
}();

}  // namespace kg::cases

namespace kg::kernels {

inline std::string describe(const Pool2dProblem& p) {
  const auto both = [](std::int64_t h, std::int64_t w) {
    return std::to_string(h) + "x" + std::to_string(w);
  };
  return "pool2d " + std::to_string(p.planes) + " of " + both(p.h, p.w) + ", kernel " + both(p.k_h, p.k_w) +
         ", stride " + both(p.stride_h, p.stride_w) + ", padding " + both(p.padding_h, p.padding_w);
}

}  // namespace kg::kernels
