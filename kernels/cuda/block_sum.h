// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"
#include "kernelgrad/cuda/shared_memory.h"

/// Sums over a block's rows, for the losses.
namespace kg::kernels::cuda {

inline constexpr std::size_t block_sum_bytes = SharedLayout().array<double>(reduce_scratch).bytes();

/// The sum of all threads' terms; every thread gets it. In double precision, which costs nothing at one term
/// a row. All threads of the block must take part, once in a kernel.
__device__ inline double block_sum(double term) {
  SharedMemory shared;
  return block_reduce(term, Sum(), shared.array<double>(reduce_scratch));
}

/// term(begin) + term(begin + 1) + ... + term(end - 1).
template <class Term>
__device__ double block_sum(std::int64_t begin, std::int64_t end, Term term) {
  double sum = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) sum += term(i);
  return block_sum(sum);
}

/// Whole warps, at most `block_size` threads, of which `count` have something to do.
inline unsigned threads_for(std::int64_t count, int block_size) {
  return static_cast<unsigned>(
      std::clamp<std::int64_t>(ceil_div(count, warp_size) * warp_size, warp_size, block_size));
}

}  // namespace kg::kernels::cuda
