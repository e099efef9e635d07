// SPDX-License-Identifier: MIT
#include "kernels/nll_loss.h"

#include <limits>

#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/row_groups.h"

/// loss = -scale * (sum over the rows of log_probabilities[r, labels[r]]), and its gradient: -scale *
/// grad_loss at the labels, 0 elsewhere.
///
/// Forward: a block sums rows_per_block rows, which leaves nothing more to do for a batch of usual size;
/// the sums of several blocks are written to scratch memory and added up by a block of a second launch. It
/// reads 8 + sizeof(T) bytes a row (in DRAM a sector of 32 bytes for the sizeof(T)). Backward: a row belongs
/// to a group of lanes (row_groups.h); it writes sizeof(T) bytes an element. Deterministic: who adds which
/// rows, and in what order, depends on the number of rows alone.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 256;
/// 4 rows for a thread, so that it waits for 4 labels at a time.
constexpr std::int64_t rows_per_block = 4 * block_size;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

template <class T>
__global__ void __launch_bounds__(block_size)
    nll_loss_forward_kernel(std::int64_t rows, std::int64_t classes, double scale, const T* log_probabilities,
                            const std::int64_t* labels, T* losses) {
  const std::int64_t begin = blockIdx.x * rows_per_block;
  const double sum = block_sum(begin, min(begin + rows_per_block, rows), [=](std::int64_t r) {
    const std::int64_t label = labels[r];
    return label >= 0 && label < classes ? static_cast<double>(log_probabilities[r * classes + label]) : nan;
  });
  if (threadIdx.x == 0) losses[blockIdx.x] = static_cast<T>(-scale * sum);
}

template <class T>
__global__ void __launch_bounds__(block_size)
    nll_loss_backward_kernel(std::int64_t rows, std::int64_t classes, int lanes, double scale,
                             const T* grad_loss, const std::int64_t* labels, T* grad_input) {
  const RowLane at(rows, classes, lanes);
  if (!at.exists) return;
  // A label out of range meets no column.
  const std::int64_t label = labels[at.row];
  const T value = static_cast<T>(-scale) * *grad_loss;
  for (std::int64_t c = at.lane; c < classes; c += lanes)
    grad_input[at.row * classes + c] = c == label ? value : T(0);
}

template <class T>
void forward(std::int64_t rows, std::int64_t classes, double scale, const T* log_probabilities,
             const std::int64_t* labels, T* loss) {
  // One at least, even without rows: the loss is written in any case.
  const std::int64_t blocks = std::max<std::int64_t>(1, ceil_div(rows, rows_per_block));
  sum_losses<block_size>(blocks, loss, [&](T* losses) {
    launch<nll_loss_forward_kernel<T>>({.blocks = block_count(blocks),
                                        .threads = threads_for(rows, block_size),
                                        .shared_bytes = block_sum_bytes},
                                       rows, classes, scale, log_probabilities, labels, losses);
  });
}

template <class T>
void backward(std::int64_t rows, std::int64_t classes, double scale, const T* grad_loss,
              const std::int64_t* labels, T* grad_input) {
  launch<nll_loss_backward_kernel<T>>(row_grid(rows, classes, block_size), rows, classes,
                                      lanes_per_row(classes), scale, grad_loss, labels, grad_input);
}

template <class T>
constexpr NllLossKernels<T> nll_loss{forward<T>, backward<T>};

}  // namespace

template <>
Tables<NllLossKernels> tables() {
  return {&nll_loss<float>, &nll_loss<double>};
}

}  // namespace kg::kernels::cuda
