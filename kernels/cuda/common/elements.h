// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/common/launch.h"

/// Launches with a thread for each of many elements, or packs of them, in a one-dimensional grid.
namespace kg::kernels::cuda {

/// The number of the thread within the whole grid.
template <int block_size>
__device__ std::int64_t global_thread() {
  return std::int64_t{blockIdx.x} * block_size + threadIdx.x;
}

/// At least `count` threads.
template <int block_size>
Grid grid_for(std::int64_t count, std::source_location where = std::source_location::current()) {
  return {.blocks = block_count(ceil_div(count, block_size)), .threads = block_size, .where = where};
}

}  // namespace kg::kernels::cuda
