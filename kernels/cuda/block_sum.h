// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernelgrad/device_array.h"

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

template <class T, int block_size>
__global__ void __launch_bounds__(block_size) loss_sum_kernel(std::int64_t count, const T* losses, T* loss) {
  const double sum = block_sum(0, count, [=](std::int64_t i) { return static_cast<double>(losses[i]); });
  if (threadIdx.x == 0) *loss = static_cast<T>(sum);
}

/// Calls sum_rows(losses) with where to write the sums of `blocks` blocks, and adds them up into `loss`.
template <int block_size, class T, class SumRows>
void sum_losses(std::int64_t blocks, T* loss, const SumRows& sum_rows) {
  if (blocks == 1) return sum_rows(loss);
  DeviceArray<T> losses(blocks);
  sum_rows(losses.data());
  launch<loss_sum_kernel<T, block_size>>(
      {.blocks = 1, .threads = threads_for(blocks, block_size), .shared_bytes = block_sum_bytes}, blocks,
      losses.data(), loss);
}

}  // namespace kg::kernels::cuda
