// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "kernels/elementwise.h"
#include "kernels/table.h"

namespace kg::kernels {

/// A sum over some dimensions of a contiguous input with `shape`: element (i0, i1, ...) is added to
/// output[sum of i_d * output_strides[d]]. A reduced dimension has stride 0, the others those of a contiguous
/// output.
struct ReduceProblem {
  int rank;
  std::array<std::int64_t, max_rank> shape, output_strides;
  std::int64_t output_count;

  /// "128x10x4x4 to 10".
  Description description() const {
    return Description()
        .extents("", std::span(shape).first(static_cast<std::size_t>(rank)))
        .extents(" to ", {output_count});
  }
};

template <class T>
struct ReduceKernels {
  static constexpr std::string_view operation = "reduce";

  /// output = scale * the sum. Every element is written. Sums of many terms are accumulated in double
  /// precision, or in partial sums of fixed order: the same input gives the same bits.
  void (*sum)(const ReduceProblem&, double scale, const T* input, T* output);
};

}  // namespace kg::kernels
