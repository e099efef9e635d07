// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

/// Max pooling with windows of 2x2 side by side, by far the most common, in SIMD: the general loop, with its
/// bounds and unpredictable branches, took a fifteenth of the training step.

namespace kg::kernels::cpu {

/// One image of h x w, and its [h / 2][w / 2] windows.
template <class T>
struct PoolPairs {
  std::int64_t h, w;

  /// Rows must be long enough for a vector, and indices exact as T.
  static bool fits(std::int64_t h, std::int64_t w) { return w >= 8 && h * w <= (std::int64_t{1} << 24); }

  void forward(const T* input, T* output, std::int32_t* argmax) const;
  void backward(const T* grad_output, const std::int32_t* argmax, T* grad_input) const;
};

}  // namespace kg::kernels::cpu
