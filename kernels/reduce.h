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

/// Dimensions that are all kept or all summed over, with their strides in the input, outermost first.
struct Dimensions {
  std::int64_t count = 1;  ///< of their combinations
  int rank = 0;
  // Merged, kept and summed dimensions take turns.
  std::int64_t extents[max_rank / 2] = {}, strides[max_rank / 2] = {};

  void add_inner(std::int64_t extent, std::int64_t stride) {
    extents[rank] = extent;
    strides[rank++] = stride;
    count *= extent;
  }
};

/// A ReduceProblem with as few dimensions as it can be described with. Innermost are runs of consecutive
/// elements, which are all summed over (`sums_runs`) or all kept: one for each combination of kept and summed
/// dimensions.
struct Reduction {
  Dimensions kept, summed;
  bool sums_runs = true;
  std::int64_t run = 1;

  Reduction() = default;
  explicit Reduction(const ReduceProblem& p) {
    struct Group {
      bool summed;
      std::int64_t extent;
    };
    Group groups[max_rank] = {};
    int count = 0;
    std::int64_t stride = 1;
    for (std::size_t d = 0; d < static_cast<std::size_t>(p.rank); ++d) {
      stride *= p.shape[d];
      if (p.shape[d] == 1) continue;
      const bool summed = p.output_strides[d] == 0;
      if (count > 0 && groups[count - 1].summed == summed)
        groups[count - 1].extent *= p.shape[d];
      else
        groups[count++] = {summed, p.shape[d]};
    }
    if (count > 0) {
      sums_runs = groups[--count].summed;
      run = groups[count].extent;
    }
    for (int g = 0; g < count; ++g) {
      // Where there are no elements, strides do not matter.
      stride = groups[g].extent > 0 ? stride / groups[g].extent : 0;
      (groups[g].summed ? summed : kept).add_inner(groups[g].extent, stride);
    }
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
