// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "kernels/table.h"

/// The inner loops of batch normalisation, in SIMD: each over values of one channel, one behind the other.

namespace kg::kernels::cpu {

/// Sums are formed over pieces of at most this many elements in T, and across pieces in double: precision
/// does not depend on the size of a plane.
inline constexpr std::int64_t max_piece = 1024;

/// A channel's constants. With x' = relu_before(x), the normalised value is (x' - mean) * inv_std and the
/// output, before dropout, relu_after(x' * scale + shift).
template <class T>
struct Channel {
  bool relu_before, relu_after;
  T mean, inv_std, scale, shift;
};

/// Mean, and sum of squared deviations from it.
struct Moments {
  double mean, squares;
};

/// Of the gradient behind relu_after: its sum, and the sum of its products with the normalised values.
struct GradientSums {
  double plain, normalized;
};

template <class T>
struct PlaneLoops {
  Moments (*moments)(const T* x, std::int64_t count, bool relu_before);
  void (*normalize)(const Channel<T>&, const T* x, std::int64_t count, T* y);
  GradientSums (*gradient_sums)(const Channel<T>&, const T* x, const T* grad_output, std::int64_t count);
  /// grad_input = scale * (g - mean_plain - normalized value * mean_normalized), where g is the gradient
  /// behind relu_after; 0 where relu_before cut off.
  void (*input_gradient)(const Channel<T>&, T mean_plain, T mean_normalized, const T* x, const T* grad_output,
                         std::int64_t count, T* grad_input);
};

/// The loops for the best instruction set that this processor has.
Tables<PlaneLoops> plane_loops();

}  // namespace kg::kernels::cpu
