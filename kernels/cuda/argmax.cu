// SPDX-License-Identifier: MIT
#include "kernels/argmax.h"

#include "kernels/cuda/row_groups.h"

/// The column of the largest element of each row of [rows, columns]; the first among equals, NaN before all.
///
/// A row belongs to a group of 1 to 32 lanes of a warp (row_groups.h). Each lane finds the best of its own
/// columns; the lanes' candidates are compared by value and then by column, which leaves no choice to the
/// order of the comparisons. Moves sizeof(T) bytes an element, and 8 bytes a row.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 128;

template <class T>
struct Candidate {
  T value;
  std::int64_t column;

  __device__ bool beats(const Candidate& other) const {
    const bool is_nan = value != value, other_is_nan = other.value != other.value;
    if (is_nan != other_is_nan) return is_nan;
    if (!is_nan && value != other.value) return value > other.value;
    return other.column > column;
  }
};

template <class T>
__global__ void __launch_bounds__(block_size)
    argmax_kernel(std::int64_t rows, std::int64_t columns, int lanes, const T* input, std::int64_t* output) {
  const RowLane at(rows, columns, lanes);
  const T* x = input + at.row * columns;
  // Behind every element, since a lane may have none.
  Candidate<T> best{minus_infinity<T>, columns};
  for (std::int64_t c = at.lane; c < at.columns; c += lanes) {
    const Candidate<T> candidate{x[c], c};
    if (candidate.beats(best)) best = candidate;
  }
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    const Candidate<T> partner{__shfl_xor_sync(all_lanes, best.value, distance),
                               __shfl_xor_sync(all_lanes, best.column, distance)};
    if (partner.beats(best)) best = partner;
  }
  if (at.exists && at.lane == 0) output[at.row] = best.column;
}

template <class T>
void forward(std::int64_t rows, std::int64_t columns, const T* input, std::int64_t* output) {
  launch<argmax_kernel<T>>(row_grid(rows, columns, block_size), rows, columns, lanes_per_row(columns), input,
                           output);
}

template <class T>
constexpr ArgmaxKernels<T> argmax{forward<T>};

}  // namespace

template <>
Tables<ArgmaxKernels> tables() {
  return {&argmax<float>, &argmax<double>};
}

}  // namespace kg::kernels::cuda
