#pragma once

#include <array>
#include <cstdint>

#include "kernels/elementwise.h"
#include "kernels/stream.h"

namespace kg::kernels {

/// A sum over some dimensions of a contiguous input with `shape`: element (i0, i1, ...) is added to
/// output[sum of i_d * output_strides[d]]. A reduced dimension has stride 0, the others those of a contiguous
/// output.
struct ReduceProblem {
  int rank;
  std::array<std::int64_t, max_rank> shape, output_strides;
  std::int64_t output_count;
};

template <class T>
struct ReduceKernels {
  /// output = scale * the sum. Every element is written. Sums of many terms are accumulated in double
  /// precision, or in partial sums of fixed order: the same input gives the same bits.
  void (*sum)(const ReduceProblem&, double scale, const T* input, T* output, Stream);
};

namespace cpu {
template <class T>
const ReduceKernels<T>& reduce();
}
namespace cuda {
template <class T>
const ReduceKernels<T>& reduce();
}

}  // namespace kg::kernels
