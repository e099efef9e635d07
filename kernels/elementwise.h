#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "kernels/description.h"
#include "kernels/table.h"

namespace kg::kernels {

/// The largest number of dimensions that broadcasting and partial reductions handle.
inline constexpr int max_rank = 8;

/// Two operands broadcast against each other: element (i0, i1, ...) of the output, which is contiguous with
/// `shape`, reads a[sum of i_d * a_strides[d]] and b[...] likewise. A broadcast dimension has stride 0; in
/// the last dimension a stride is 0 or 1.
struct BroadcastProblem {
  int rank;
  std::array<std::int64_t, max_rank> shape, a_strides, b_strides;

  /// "128x10x4x4", the output's shape.
  Description description() const {
    return Description().extents("", std::span(shape).first(static_cast<std::size_t>(rank)));
  }
};

template <class T>
struct ElementwiseKernels {
  static constexpr std::string_view operation = "elementwise";

  void (*fill)(std::int64_t count, double value, T* output);
  /// output = a + b.
  void (*add)(const BroadcastProblem&, const T* a, const T* b, T* output);
  /// output = a * b.
  void (*mul)(const BroadcastProblem&, const T* a, const T* b, T* output);
  /// output[i] = factor * input[i]; the two may be the same array.
  void (*scale)(std::int64_t count, double factor, const T* input, T* output);
  /// accumulator[i] += input[i].
  void (*accumulate)(std::int64_t count, const T* input, T* accumulator);
};

}  // namespace kg::kernels
