// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <string>

#include "kernels/conv2d.h"

/// The problems on which the backends are tested and measured, by operation.
namespace kg::cases {

/// Many channels: the CPU has them in the lanes. Of each group there are some that fill no vector.
inline constexpr kernels::Conv2dProblem conv2d_channels[] = {
    {.n = 3, .c_in = 33, .h = 5, .w = 7, .c_out = 50, .k_h = 3, .k_w = 3, .padding_h = 1, .padding_w = 1},
    {.n = 2, .c_in = 64, .h = 6, .w = 5, .c_out = 72, .k_h = 3, .k_w = 3, .stride_h = 2, .stride_w = 2},
    {.n = 1, .c_in = 80, .h = 4, .w = 4, .c_out = 35, .k_h = 1, .k_w = 1},
    {.n = 2, .c_in = 40, .h = 5, .w = 6, .c_out = 129, .k_h = 1, .k_w = 1, .stride_h = 2, .stride_w = 3},
    {.n = 1, .c_in = 32, .h = 7, .w = 8, .c_out = 32, .k_h = 2, .k_w = 2, .stride_h = 3, .stride_w = 3},
    {.n = 1,
     .c_in = 47,
     .h = 9,
     .w = 6,
     .c_out = 34,
     .k_h = 3,
     .k_w = 2,
     .padding_h = 3,
     .padding_w = 2,
     .dilation_h = 2,
     .dilation_w = 3},
    {.n = 2, .c_in = 66, .h = 4, .w = 5, .c_out = 100, .k_h = 3, .k_w = 1, .padding_h = 1, .groups = 2},
    {.n = 40, .c_in = 32, .h = 25, .w = 24, .c_out = 32, .k_h = 1, .k_w = 1},
};

/// Small ones: sizes that no block or vector divides, and every option alone and with others.
inline constexpr kernels::Conv2dProblem conv2d[] = {
    // Sizes.
    {.n = 1, .c_in = 1, .h = 1, .w = 1, .c_out = 1, .k_h = 1, .k_w = 1},
    {.n = 2, .c_in = 3, .h = 7, .w = 1, .c_out = 2, .k_h = 1, .k_w = 1},
    {.n = 1, .c_in = 2, .h = 1, .w = 33, .c_out = 3, .k_h = 1, .k_w = 3},
    {.n = 1, .c_in = 2, .h = 33, .w = 1, .c_out = 3, .k_h = 3, .k_w = 1},
    {.n = 1, .c_in = 1, .h = 1, .w = 65, .c_out = 5, .k_h = 1, .k_w = 1},
    {.n = 1, .c_in = 1, .h = 7, .w = 31, .c_out = 1, .k_h = 3, .k_w = 3},
    {.n = 3, .c_in = 1, .h = 5, .w = 6, .c_out = 7, .k_h = 3, .k_w = 3},
    {.n = 5, .c_in = 3, .h = 6, .w = 5, .c_out = 13, .k_h = 3, .k_w = 3},
    {.n = 9, .c_in = 2, .h = 4, .w = 4, .c_out = 3, .k_h = 3, .k_w = 3},
    {.n = 1, .c_in = 31, .h = 3, .w = 3, .c_out = 1, .k_h = 2, .k_w = 2},
    {.n = 1, .c_in = 1, .h = 3, .w = 4, .c_out = 33, .k_h = 3, .k_w = 2},
    // Kernels.
    {.n = 2, .c_in = 2, .h = 7, .w = 7, .c_out = 2, .k_h = 7, .k_w = 7},
    {.n = 2, .c_in = 1, .h = 9, .w = 8, .c_out = 2, .k_h = 7, .k_w = 5},
    {.n = 1, .c_in = 2, .h = 8, .w = 9, .c_out = 3, .k_h = 5, .k_w = 5},
    {.n = 2, .c_in = 2, .h = 5, .w = 7, .c_out = 2, .k_h = 1, .k_w = 3},
    {.n = 2, .c_in = 2, .h = 7, .w = 5, .c_out = 2, .k_h = 3, .k_w = 1},
    {.n = 2, .c_in = 2, .h = 7, .w = 6, .c_out = 3, .k_h = 2, .k_w = 4},
    // Strides.
    {.n = 2, .c_in = 2, .h = 7, .w = 7, .c_out = 3, .k_h = 3, .k_w = 3, .stride_h = 2, .stride_w = 2},
    {.n = 1, .c_in = 1, .h = 11, .w = 10, .c_out = 2, .k_h = 3, .k_w = 3, .stride_h = 3, .stride_w = 2},
    {.n = 1, .c_in = 2, .h = 6, .w = 9, .c_out = 2, .k_h = 2, .k_w = 3, .stride_h = 1, .stride_w = 3},
    {.n = 2, .c_in = 3, .h = 8, .w = 8, .c_out = 2, .k_h = 1, .k_w = 1, .stride_h = 2, .stride_w = 3},
    {.n = 1, .c_in = 1, .h = 11, .w = 12, .c_out = 1, .k_h = 2, .k_w = 2, .stride_h = 3, .stride_w = 5},
    {.n = 1, .c_in = 1, .h = 5, .w = 5, .c_out = 1, .k_h = 2, .k_w = 2, .stride_h = 7, .stride_w = 7},
    // Padding.
    {.n = 2, .c_in = 2, .h = 5, .w = 5, .c_out = 3, .k_h = 3, .k_w = 3, .padding_h = 1, .padding_w = 1},
    {.n = 1, .c_in = 1, .h = 1, .w = 1, .c_out = 2, .k_h = 3, .k_w = 3, .padding_h = 1, .padding_w = 1},
    {.n = 1, .c_in = 2, .h = 3, .w = 7, .c_out = 2, .k_h = 5, .k_w = 3, .padding_h = 2, .padding_w = 0},
    {.n = 1, .c_in = 2, .h = 4, .w = 4, .c_out = 2, .k_h = 2, .k_w = 2, .padding_h = 3, .padding_w = 3},
    {.n = 1, .c_in = 1, .h = 3, .w = 2, .c_out = 2, .k_h = 1, .k_w = 1, .padding_h = 2, .padding_w = 3},
    {.n = 1, .c_in = 1, .h = 1, .w = 7, .c_out = 1, .k_h = 7, .k_w = 1, .padding_h = 3, .padding_w = 0},
    // Dilation.
    {.n = 2, .c_in = 2, .h = 7, .w = 7, .c_out = 2, .k_h = 3, .k_w = 3, .dilation_h = 2, .dilation_w = 2},
    {.n = 1, .c_in = 1, .h = 7, .w = 8, .c_out = 2, .k_h = 3, .k_w = 2, .dilation_h = 3, .dilation_w = 1},
    {.n = 1, .c_in = 1, .h = 5, .w = 9, .c_out = 2, .k_h = 1, .k_w = 3, .dilation_h = 2, .dilation_w = 3},
    // Groups.
    {.n = 2, .c_in = 4, .h = 5, .w = 5, .c_out = 6, .k_h = 3, .k_w = 3, .groups = 2},
    {.n = 3, .c_in = 5, .h = 4, .w = 5, .c_out = 5, .k_h = 3, .k_w = 3, .groups = 5},
    {.n = 1, .c_in = 3, .h = 4, .w = 4, .c_out = 9, .k_h = 2, .k_w = 2, .groups = 3},
    {.n = 2, .c_in = 6, .h = 3, .w = 3, .c_out = 3, .k_h = 1, .k_w = 1, .groups = 3},
    // Combinations.
    {.n = 2,
     .c_in = 2,
     .h = 9,
     .w = 8,
     .c_out = 4,
     .k_h = 3,
     .k_w = 3,
     .stride_h = 2,
     .stride_w = 2,
     .padding_h = 1,
     .padding_w = 1},
    {.n = 1,
     .c_in = 4,
     .h = 8,
     .w = 9,
     .c_out = 4,
     .k_h = 3,
     .k_w = 2,
     .stride_h = 2,
     .stride_w = 3,
     .padding_h = 2,
     .padding_w = 1,
     .dilation_h = 2,
     .dilation_w = 3,
     .groups = 2},
    {.n = 1,
     .c_in = 1,
     .h = 7,
     .w = 7,
     .c_out = 1,
     .k_h = 3,
     .k_w = 3,
     .stride_h = 3,
     .stride_w = 2,
     .padding_h = 3,
     .padding_w = 3,
     .dilation_h = 3,
     .dilation_w = 2},
    {.n = 2,
     .c_in = 3,
     .h = 6,
     .w = 7,
     .c_out = 6,
     .k_h = 2,
     .k_w = 3,
     .stride_h = 2,
     .stride_w = 1,
     .padding_h = 1,
     .padding_w = 2,
     .dilation_h = 1,
     .dilation_w = 2,
     .groups = 3},
    {.n = 1,
     .c_in = 2,
     .h = 6,
     .w = 6,
     .c_out = 2,
     .k_h = 2,
     .k_w = 2,
     .stride_h = 3,
     .stride_w = 3,
     .padding_h = 3,
     .padding_w = 3,
     .dilation_h = 2,
     .dilation_w = 2,
     .groups = 2},
};

/// Kernel, stride, padding and dilation that differ between height and width, each alone and with the others:
/// of every option, the same for both, more along the height, and more along the width.
inline constexpr std::array<kernels::Conv2dProblem, 108> conv2d_unequal = [] {
  constexpr std::int64_t taller[] = {0, 1, 0}, wider[] = {0, 0, 1};
  constexpr std::int64_t k_h[] = {3, 3, 2, 1}, k_w[] = {3, 2, 3, 1};
  std::array<kernels::Conv2dProblem, 108> all{};
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::size_t kernel = i % 4, stride = i / 4 % 3, padding = i / 12 % 3, dilation = i / 36;
    all[i] = {.n = 3,
              .c_in = 2,
              .h = 8,
              .w = 9,
              .c_out = 4,
              .k_h = k_h[kernel],
              .k_w = k_w[kernel],
              .stride_h = 1 + taller[stride],
              .stride_w = 1 + wider[stride],
              .padding_h = taller[padding],
              .padding_w = wider[padding],
              .dilation_h = 1 + taller[dilation],
              .dilation_w = 1 + wider[dilation],
              .groups = 1 + static_cast<std::int64_t>(i % 2)};
  }
  return all;
}();

/// The layers of the MNIST network s7_final, at a batch size that nothing divides.
inline constexpr kernels::Conv2dProblem conv2d_s7_final[] = {
    {.n = 3, .c_in = 1, .h = 28, .w = 28, .c_out = 4, .k_h = 3, .k_w = 3},
    {.n = 3, .c_in = 4, .h = 26, .w = 26, .c_out = 8, .k_h = 3, .k_w = 3},
    {.n = 3, .c_in = 8, .h = 24, .w = 24, .c_out = 16, .k_h = 3, .k_w = 3},
    {.n = 3, .c_in = 16, .h = 22, .w = 22, .c_out = 8, .k_h = 1, .k_w = 1},
    {.n = 3, .c_in = 8, .h = 11, .w = 11, .c_out = 16, .k_h = 3, .k_w = 3},
    {.n = 3, .c_in = 16, .h = 9, .w = 9, .c_out = 16, .k_h = 3, .k_w = 3},
    {.n = 3, .c_in = 16, .h = 7, .w = 7, .c_out = 16, .k_h = 3, .k_w = 3, .padding_h = 1, .padding_w = 1},
    {.n = 3, .c_in = 16, .h = 7, .w = 7, .c_out = 10, .k_h = 1, .k_w = 1},
};

/// Larger than one block of anything: several tasks, tiles and partial sums.
inline constexpr kernels::Conv2dProblem conv2d_large[] = {
    {.n = 37, .c_in = 3, .h = 31, .w = 33, .c_out = 13, .k_h = 3, .k_w = 3},
    {.n = 131, .c_in = 2, .h = 9, .w = 7, .c_out = 3, .k_h = 5, .k_w = 3, .padding_h = 2, .padding_w = 1},
    {.n = 5, .c_in = 33, .h = 65, .w = 31, .c_out = 31, .k_h = 3, .k_w = 3, .stride_h = 2, .stride_w = 2},
    {.n = 7,
     .c_in = 65,
     .h = 7,
     .w = 7,
     .c_out = 65,
     .k_h = 3,
     .k_w = 3,
     .padding_h = 1,
     .padding_w = 1,
     .groups = 65},
    // Many pixels.
    {.n = 13, .c_in = 1, .h = 66, .w = 67, .c_out = 9, .k_h = 3, .k_w = 3},
    {.n = 13, .c_in = 2, .h = 62, .w = 66, .c_out = 9, .k_h = 1, .k_w = 1},
    {.n = 7, .c_in = 2, .h = 63, .w = 65, .c_out = 9, .k_h = 5, .k_w = 5, .padding_h = 2, .padding_w = 2},
    // Many images, small; many channels; rows too wide to share a block with all channels, or to have one.
    {.n = 261, .c_in = 2, .h = 4, .w = 5, .c_out = 3, .k_h = 3, .k_w = 3, .padding_h = 1, .padding_w = 1},
    {.n = 2, .c_in = 300, .h = 7, .w = 6, .c_out = 5, .k_h = 3, .k_w = 3, .padding_h = 1, .padding_w = 1},
    {.n = 2, .c_in = 1, .h = 5, .w = 140, .c_out = 19, .k_h = 3, .k_w = 3},
    {.n = 1, .c_in = 1, .h = 2, .w = 579, .c_out = 2, .k_h = 1, .k_w = 1},
    // Several images and several channel blocks for a block of the weight gradient.
    {.n = 401, .c_in = 1, .h = 6, .w = 5, .c_out = 2, .k_h = 3, .k_w = 3},
    {.n = 2, .c_in = 23, .h = 9, .w = 35, .c_out = 18, .k_h = 3, .k_w = 3, .padding_h = 1, .padding_w = 1},
    {.n = 2, .c_in = 90, .h = 13, .w = 11, .c_out = 18, .k_h = 1, .k_w = 1},
    // So many channels that a row of them all has to be short.
    {.n = 1, .c_in = 251, .h = 11, .w = 11, .c_out = 2, .k_h = 1, .k_w = 1},
    {.n = 1, .c_in = 129, .h = 9, .w = 14, .c_out = 7, .k_h = 1, .k_w = 1},
    {.n = 2, .c_in = 5, .h = 3, .w = 131, .c_out = 3, .k_h = 1, .k_w = 1, .padding_h = 1, .padding_w = 2},
    // A window larger than any tile.
    {.n = 1,
     .c_in = 1,
     .h = 132,
     .w = 131,
     .c_out = 2,
     .k_h = 2,
     .k_w = 2,
     .dilation_h = 130,
     .dilation_w = 130},
};

}  // namespace kg::cases

namespace kg::kernels {

inline std::string describe(const Conv2dProblem& p) {
  const auto both = [](std::int64_t h, std::int64_t w) {
    return std::to_string(h) + "x" + std::to_string(w);
  };
  return "conv2d " + std::to_string(p.n) + "x" + std::to_string(p.c_in) + "x" + both(p.h, p.w) + " to " +
         std::to_string(p.c_out) + ", kernel " + both(p.k_h, p.k_w) + ", stride " +
         both(p.stride_h, p.stride_w) + ", padding " + both(p.padding_h, p.padding_w) + ", dilation " +
         both(p.dilation_h, p.dilation_w) + ", groups " + std::to_string(p.groups);
}

}  // namespace kg::kernels
