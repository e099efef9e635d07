// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <source_location>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"

/// For kernels that treat each row of a [rows, columns] matrix by itself. A row belongs to a group of
/// neighbouring lanes of one warp, whose lane i takes columns i, i + lanes, ...: no shared memory, no
/// barrier, and the order of every sum follows from the number of columns alone.
namespace kg::kernels::cuda {

/// Lanes of a group: a power of two, so that groups fill a warp. Up to 4 columns for each lane before there
/// are more lanes: 10 classes keep 10 of 12 places busy on 4 lanes (10 of 16 on 16), combine their results in
/// 2 shuffles in place of 4, and each lane has 3 loads under way. Wide rows get a whole warp, which reads 32
/// neighbouring elements at a time.
inline int lanes_per_row(std::int64_t columns) {
  int lanes = 1;
  while (lanes != warp_size && columns > 4 * lanes) lanes *= 2;
  return lanes;
}

/// One thread for each lane of each row, in blocks of at most `block_size`.
inline Grid row_grid(std::int64_t rows, std::int64_t columns, int block_size,
                     std::source_location where = std::source_location::current()) {
  const int lanes = lanes_per_row(columns);
  const std::int64_t rows_per_block =
      std::min<std::int64_t>(block_size / lanes, ceil_div(rows * lanes, warp_size) * warp_size / lanes);
  if (rows == 0) return {.blocks = 0, .threads = warp_size, .where = where};
  return {.blocks = block_count(ceil_div(rows, rows_per_block)),
          .threads = static_cast<unsigned>(rows_per_block * lanes),
          .where = where};
}

/// A thread's place in a launch over row_grid().
struct RowLane {
  std::int64_t row;
  int lane, lanes;
  bool exists;           ///< False beyond the last row; such threads still take part in shuffles.
  std::int64_t columns;  ///< Of the row; 0 if it does not exist.

  __device__ RowLane(std::int64_t rows, std::int64_t columns, int lanes)
      : row(std::int64_t{blockIdx.x} * (static_cast<int>(blockDim.x) / lanes) +
            static_cast<int>(threadIdx.x) / lanes),
        lane(static_cast<int>(threadIdx.x) % lanes),
        lanes(lanes),
        exists(row < rows),
        columns(exists ? columns : 0) {}
};

/// Combines the values of a group's lanes; every lane gets the result. All lanes of the warp must take part.
template <class Combine, class T>
__device__ T group_reduce(T value, int lanes, Combine combine) {
  // Partners stay inside the group, since it is aligned to its size.
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(all_lanes, value, distance));
  return value;
}

/// Behind every number. A constant, because device code cannot call infinity().
template <class T>
inline constexpr T minus_infinity = -std::numeric_limits<T>::infinity();

/// What the softmax of a row is computed from: softmax(x) = exp(x - largest) / sum.
template <class T>
struct SoftmaxRow {
  T largest;
  T sum;  ///< of exp(x - largest): between 1 and the number of columns, it cannot overflow.
};

/// Reads the row twice. The second time it lies in the L1 cache; one reading with a running maximum would
/// cost a second exp for each element.
template <class T>
__device__ SoftmaxRow<T> softmax_row(const T* x, const RowLane& at) {
  T largest = minus_infinity<T>;
  for (std::int64_t c = at.lane; c < at.columns; c += at.lanes) largest = Max()(largest, x[c]);
  // NaN wins, and makes the sum NaN.
  largest = group_reduce(largest, at.lanes, Max());
  T sum = 0;
  for (std::int64_t c = at.lane; c < at.columns; c += at.lanes) sum += exp(x[c] - largest);
  return {largest, group_reduce(sum, at.lanes, Sum())};
}

}  // namespace kg::kernels::cuda
