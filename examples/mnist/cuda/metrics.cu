// SPDX-License-Identifier: MIT
#include "cuda/kernels.h"
#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernelgrad/host_device.h"

/// Adds a batch to the epoch's totals, and to the list of its batches. Both stay in device memory: reading
/// them in every step would stop the GPU for as long as a small network's whole step takes.
///
/// One block, a thread for each row in turn: a batch has some hundred rows of ten numbers. The totals are
/// then up to a single thread, in double, in the order of the CPU: no atomics, same bits every time.
namespace mnist::cuda {

namespace {

using kg::cuda::block_reduce;
using kg::cuda::launch;
using kg::cuda::reduce_scratch;
using kg::cuda::SharedLayout;
using kg::cuda::SharedMemory;
using kg::cuda::Sum;
using kg::unfused::product;
using kg::unfused::sum;

constexpr int block_size = 128;

/// True for NaN where b is none.
__device__ bool is_larger(float a, float b) { return a > b || (a != a && b == b); }

/// The place of the largest of `count` values.
__device__ std::int64_t largest(const float* values, std::int64_t count) {
  std::int64_t best = 0;
  for (std::int64_t i = 1; i < count; ++i)
    if (is_larger(values[i], values[best])) best = i;
  return best;
}

__device__ void add_batch(EpochTotals& totals, BatchTotals* batches, const BatchTotals& batch) {
  if (!isfinite(batch.loss) && totals.diverged_batch < 0) {
    totals.diverged_batch = totals.batches;
    totals.diverged_loss = batch.loss;
  }
  batches[totals.batches] = batch;
  totals.loss = sum(totals.loss, product(batch.loss, static_cast<double>(batch.images)));
  totals.correct += batch.correct;
  totals.images += batch.images;
  totals.batches += 1;
  totals.last_loss = batch.loss;
}

__global__ void __launch_bounds__(block_size)
    metrics_add_batch_kernel(std::int64_t rows, std::int64_t classes, const float* log_probabilities,
                             const std::int64_t* labels, const float* loss, EpochTotals* totals,
                             BatchTotals* batches) {
  SharedMemory shared;
  int* const scratch = shared.array<int>(reduce_scratch);
  int correct = 0;
  for (std::int64_t row = threadIdx.x; row < rows; row += block_size)
    correct += largest(log_probabilities + row * classes, classes) == labels[row];
  correct = block_reduce(correct, Sum{}, scratch);
  if (threadIdx.x == 0) add_batch(*totals, batches, {.loss = *loss, .correct = correct, .images = rows});
}

}  // namespace

void metrics_add_batch(std::int64_t rows, std::int64_t classes, const float* log_probabilities,
                       const std::int64_t* labels, const float* loss, EpochTotals* totals,
                       BatchTotals* batches) {
  launch<metrics_add_batch_kernel>(
      {.blocks = 1, .threads = block_size, .shared_bytes = SharedLayout().array<int>(reduce_scratch).bytes()},
      rows, classes, log_probabilities, labels, loss, totals, batches);
}

}  // namespace mnist::cuda
