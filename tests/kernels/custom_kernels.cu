// SPDX-License-Identifier: MIT
#include "kernels/custom_kernels.h"

#include "kernelgrad/cuda.h"

namespace custom {

namespace {

constexpr int block_size = 96;

__global__ void draw_kernel(std::uint64_t seed, kg::RandomPurpose purpose, std::uint32_t step,
                            std::uint64_t first, std::int64_t count, std::uint32_t* words) {
  const std::int64_t i = kg::cuda::global_thread<block_size>();
  if (i >= count) return;
  const kg::cuda::PhiloxWords drawn =
      kg::cuda::philox(seed, purpose, step, first + static_cast<std::uint64_t>(i));
  for (int j = 0; j < kg::cuda::philox_size; ++j) words[kg::cuda::philox_size * i + j] = drawn.words[j];
}

__global__ void measure_kernel(std::int64_t count, const float* values, Range* ranges) {
  kg::cuda::SharedMemory shared;
  double* const sums = shared.array<double>(kg::cuda::reduce_scratch);
  float* const maxima = shared.array<float>(kg::cuda::reduce_scratch);
  const std::int64_t begin = blockIdx.x * values_per_block, end = min(begin + values_per_block, count);
  double sum = 0;
  float largest = -INFINITY;
  for (std::int64_t i = begin + static_cast<int>(threadIdx.x); i < end; i += block_size) {
    sum += values[i];
    largest = kg::cuda::Max()(largest, values[i]);
  }
  sum = kg::cuda::block_reduce(sum, kg::cuda::Sum(), sums);
  largest = kg::cuda::block_reduce(largest, kg::cuda::Max(), maxima);
  if (threadIdx.x == 0) ranges[blockIdx.x] = {sum, largest, end - begin};
}

}  // namespace

void draw(std::uint64_t seed, kg::RandomPurpose purpose, std::uint32_t step, std::uint64_t first,
          std::int64_t count, std::uint32_t* words) {
  kg::cuda::launch<draw_kernel>(kg::cuda::grid_for<block_size>(count), seed, purpose, step, first, count,
                                words);
}

void measure(std::int64_t count, const float* values, Range* ranges) {
  kg::cuda::launch<measure_kernel>(
      {.blocks = kg::cuda::block_count(kg::cuda::ceil_div(count, values_per_block)),
       .threads = block_size,
       .shared_bytes = kg::cuda::SharedLayout()
                           .array<double>(kg::cuda::reduce_scratch)
                           .array<float>(kg::cuda::reduce_scratch)
                           .bytes()},
      count, values, ranges);
}

}  // namespace custom
