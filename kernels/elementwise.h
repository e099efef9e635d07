// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/description.h"
#include "kernels/elementwise_functions.h"
#include "kernels/form.h"
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

  /// Of two arrays of so many elements.
  static BroadcastProblem flat(std::int64_t count) {
    return {.rank = 1, .shape = {count}, .a_strides = {1}, .b_strides = {1}};
  }

  /// "128x10x4x4", the output's shape.
  Description description() const {
    return Description().extents("", std::span(shape).first(static_cast<std::size_t>(rank)));
  }
};

/// A broadcast problem as rows, with as few dimensions as it can be described with: dimensions that both
/// operands walk through in one stride are one. Two tensors of one shape are a single row; [n, c, h, w] with
/// [c, 1, 1] has a row for each image and channel.
struct BroadcastRows {
  struct Dimension {
    std::int64_t extent, a_stride, b_stride;
  };
  Dimension row{1, 0, 0};
  int outer_rank = 0;
  Dimension outer[max_rank] = {};  ///< outermost first
  std::int64_t rows = 1;

  explicit BroadcastRows(const BroadcastProblem& p) {
    for (std::size_t d = 0; d < static_cast<std::size_t>(p.rank); ++d) {
      const Dimension next{p.shape[d], p.a_strides[d], p.b_strides[d]};
      if (next.extent == 1) continue;
      const bool merges =
          row.a_stride == next.extent * next.a_stride && row.b_stride == next.extent * next.b_stride;
      if (row.extent != 1 && !merges) {
        outer[outer_rank++] = row;
        rows *= row.extent;
        row.extent = 1;
      }
      row = {row.extent * next.extent, next.a_stride, next.b_stride};
    }
  }
};

template <class T>
struct ElementwiseKernels {
  static constexpr std::string_view operation = "elementwise";

  void (*fill)(std::int64_t count, double value, T* output);
  /// output[i] = function(input[i]); the two may be the same array.
  void (*unary)(const UnaryFunction& function, std::int64_t count, Input<T> input, Output<T> output);
  /// grad_input[i] = function.gradient(grad_output[i], saved[i]), where `saved` is the input or the output,
  /// as the function's `saves` says; it may be null if it saves nothing.
  void (*unary_backward)(const UnaryFunction& function, std::int64_t count, Input<T> saved,
                         Input<T> grad_output, Output<T> grad_input);
  /// output = function(a, b); it may be the same array as an operand that is not broadcast.
  void (*binary)(const BinaryFunction& function, const BroadcastProblem&, const T* a, const T* b, T* output);
  /// The gradient of the first operand or of the second, as long as the output: what was broadcast is still
  /// to be summed up. grad_output and gradient are contiguous.
  void (*binary_backward)(const BinaryFunction& function, const BroadcastProblem&, bool of_first, const T* a,
                          const T* b, const T* grad_output, T* gradient);
};

}  // namespace kg::kernels
