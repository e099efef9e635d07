#pragma once

#include <array>
#include <cstdint>

#include "kernels/stream.h"

namespace kg::kernels {

/// The largest number of dimensions that broadcasting and partial reductions handle.
inline constexpr int max_rank = 8;

/// Two operands broadcast against each other: element (i0, i1, ...) of the output, which is contiguous with
/// `shape`, reads a[sum of i_d * a_strides[d]] and b[...] likewise. A broadcast dimension has stride 0; in
/// the last dimension a stride is 0 or 1.
struct BroadcastProblem {
  int rank;
  std::array<std::int64_t, max_rank> shape, a_strides, b_strides;
};

template <class T>
struct ElementwiseKernels {
  void (*fill)(std::int64_t count, double value, T* output, Stream);
  /// output = a + b.
  void (*add)(const BroadcastProblem&, const T* a, const T* b, T* output, Stream);
  /// output = a * b.
  void (*mul)(const BroadcastProblem&, const T* a, const T* b, T* output, Stream);
  /// output[i] = factor * input[i]; the two may be the same array.
  void (*scale)(std::int64_t count, double factor, const T* input, T* output, Stream);
  /// accumulator[i] += input[i].
  void (*accumulate)(std::int64_t count, const T* input, T* accumulator, Stream);
};

namespace cpu {
template <class T>
const ElementwiseKernels<T>& elementwise();
}
namespace cuda {
template <class T>
const ElementwiseKernels<T>& elementwise();
}

}  // namespace kg::kernels
