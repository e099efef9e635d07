// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "kernels/batch_norm.h"

namespace kg::cases {

/// Sizes only: the tests combine each with every option.
inline constexpr kernels::BatchNormProblem batch_norm[] = {
    {.n = 7, .channels = 1, .plane = 1},  {.n = 33, .channels = 2, .plane = 1},
    {.n = 1, .channels = 3, .plane = 7},  {.n = 2, .channels = 1, .plane = 31},
    {.n = 5, .channels = 4, .plane = 9},  {.n = 2, .channels = 3, .plane = 33, .epsilon = 1e-3},
    {.n = 3, .channels = 7, .plane = 16}, {.n = 1, .channels = 2, .plane = 65},
};

/// The layers of s7_final at a batch size that nothing divides.
inline constexpr kernels::BatchNormProblem batch_norm_s7_final[] = {
    {.n = 3, .channels = 4, .plane = 26 * 26},  {.n = 3, .channels = 8, .plane = 24 * 24},
    {.n = 3, .channels = 16, .plane = 22 * 22}, {.n = 3, .channels = 16, .plane = 9 * 9},
    {.n = 3, .channels = 16, .plane = 7 * 7},
};

/// Several tasks; planes long enough for rounding errors to add up. On a GPU, channels that one block reads
/// in several steps, and channels of several blocks, of which the last may have a few values or none at all.
inline constexpr kernels::BatchNormProblem batch_norm_large[] = {
    {.n = 131, .channels = 3, .plane = 63},
    {.n = 2, .channels = 131, .plane = 31},
    {.n = 2, .channels = 1, .plane = 300 * 301},
    {.n = 1707, .channels = 2, .plane = 7},
};

}  // namespace kg::cases

namespace kg::kernels {

inline std::string describe(const BatchNormProblem& p) {
  return "batch_norm " + std::to_string(p.n) + "x" + std::to_string(p.channels) + "x" +
         std::to_string(p.plane) + ", epsilon " + std::to_string(p.epsilon) +
         (p.relu_before ? ", relu before" : "") + (p.relu_after ? ", relu after" : "") +
         (p.dropout.p > 0 ? ", dropout " + std::to_string(p.dropout.p) : "");
}

}  // namespace kg::kernels
