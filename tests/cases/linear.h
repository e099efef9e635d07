// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "kernels/linear.h"

namespace kg::cases {

inline constexpr kernels::LinearProblem linear[] = {
    {.rows = 1, .in_features = 1, .out_features = 1},   {.rows = 1, .in_features = 7, .out_features = 3},
    {.rows = 7, .in_features = 1, .out_features = 5},   {.rows = 3, .in_features = 5, .out_features = 1},
    {.rows = 31, .in_features = 7, .out_features = 10}, {.rows = 5, .in_features = 33, .out_features = 7},
    {.rows = 2, .in_features = 7, .out_features = 65},  {.rows = 17, .in_features = 16, .out_features = 8},
};

/// Several tasks and tiles; sums long enough to be cut into pieces, along each dimension; sizes that fill
/// tiles exactly, and rows aligned to 16 bytes that do not.
inline constexpr kernels::LinearProblem linear_large[] = {
    {.rows = 131, .in_features = 257, .out_features = 33},
    {.rows = 33, .in_features = 784, .out_features = 65},
    {.rows = 64, .in_features = 256, .out_features = 128},
    {.rows = 1031, .in_features = 12, .out_features = 20},
};

}  // namespace kg::cases

namespace kg::kernels {

inline std::string describe(const LinearProblem& p) {
  return "linear " + std::to_string(p.rows) + "x" + std::to_string(p.in_features) + " to " +
         std::to_string(p.out_features);
}

}  // namespace kg::kernels
