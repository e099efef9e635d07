// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/shared_memory.h"

/// Reductions over a warp and over a block, of fixed order: the same values give the same bits.
namespace KG_API kg {
namespace cuda {

struct Sum {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

/// The larger; NaN wins.
struct Max {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a > b || a != a ? a : b;
  }
};

/// Combines the values of each `lanes` neighbouring lanes of a warp, a power of two, by default of all 32;
/// every lane gets the result of its group. All lanes of the warp must take part.
template <int lanes = warp_size, class Combine, class T>
__device__ T warp_reduce(T value, Combine combine) {
  // A butterfly: in each round both partners compute the same combination, so all lanes end with equal bits.
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    value = combine(value, __shfl_xor_sync(all_lanes, value, distance));
  return value;
}

/// Elements of T that block_reduce() needs as scratch.
inline constexpr int reduce_scratch = warp_size;

/// Combines the values of a one-dimensional block's threads; every thread gets the result. All threads must
/// take part, and there must be a multiple of warp_size of them. `scratch` is shared memory of reduce_scratch
/// elements; two reductions in a row may use the same.
template <class Combine, class T>
__device__ T block_reduce(T value, Combine combine, T* scratch) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size,
            warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  value = warp_reduce(value, combine);
  if (warps == 1) return value;
  if (lane == 0) scratch[warp] = value;
  // The first warp's results must be written before anyone adds them up.
  __syncthreads();
  T result = scratch[0];
  for (int i = 1; i < warps; ++i) result = combine(result, scratch[i]);
  // Nobody may write the scratch of the next reduction while others still read this one's.
  __syncthreads();
  return result;
}

}  // namespace cuda
}  // namespace kg
