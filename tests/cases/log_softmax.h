// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace kg::cases {

/// The problem of log_softmax, nll_loss, cross_entropy and argmax.
struct Rows {
  std::int64_t rows, classes;
};

inline constexpr Rows log_softmax[] = {{1, 1}, {1, 7}, {7, 1}, {3, 10}, {31, 10}, {5, 33}, {65, 3}, {2, 65}};
/// Several tasks and blocks.
inline constexpr Rows log_softmax_large[] = {{1031, 10}, {3, 1001}, {37, 129}};

inline std::string describe(const Rows& p) {
  return std::to_string(p.rows) + " rows of " + std::to_string(p.classes) + " classes";
}

}  // namespace kg::cases
