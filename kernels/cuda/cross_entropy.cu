// SPDX-License-Identifier: MIT
#include "kernels/cross_entropy.h"

#include <limits>

#include "kernels/cuda/block_sum.h"
#include "kernels/cuda/row_groups.h"

/// nll_loss(log_softmax(logits)) in one pass: with m a row's maximum and s the sum of its exp(x - m),
///
///     loss = scale * (sum over the rows of log(s) - (x[label] - m))
///     grad_logits[c] = scale * grad_loss * (exp(x[c] - m) / s - (c == label))
///
/// A row belongs to a group of lanes of a warp (row_groups.h). A block of forward adds up the losses of its
/// rows: 128 rows of up to 16 classes fit into one block, and the loss of a batch takes one launch; the sums
/// of several blocks are written to scratch memory and added up by a block of a second launch.
///
/// Backward computes m and s again. They cost a reading of the row that the gradient takes anyway and an exp
/// more for each element, in a kernel that waits for memory. Saved, they would have to be saved apart, since
/// m + log(s) loses log(s) in a large m; 2 sizeof(T) bytes a row to write, keep and read.
///
/// Forward moves sizeof(T) bytes an element (log_softmax and nll_loss: twice as many), backward 2 sizeof(T)
/// (those: 4 times, the gradient of the log-probabilities being written and read as well), and both 8 bytes a
/// row for the label. Deterministic: who adds what, and in what order, depends on the number of rows and
/// classes alone.
namespace kg::kernels::cuda {

namespace {

constexpr int forward_block_size = 512, backward_block_size = 128;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

__device__ bool is_valid(std::int64_t label, std::int64_t classes) { return label >= 0 && label < classes; }

template <class T>
__global__ void __launch_bounds__(forward_block_size)
    cross_entropy_forward_kernel(std::int64_t rows, std::int64_t classes, int lanes, double scale,
                                 const T* logits, const std::int64_t* labels, T* losses) {
  const RowLane at(rows, classes, lanes);
  const T* x = logits + at.row * classes;
  const SoftmaxRow<T> softmax = softmax_row(x, at);
  double row_loss = 0;
  if (at.exists && at.lane == 0) {
    const std::int64_t label = labels[at.row];
    // The difference first: the logarithm would drown in a large maximum.
    row_loss =
        is_valid(label, classes) ? static_cast<double>(log(softmax.sum) - (x[label] - softmax.largest)) : nan;
  }
  const double sum = block_sum(row_loss);
  if (threadIdx.x == 0) losses[blockIdx.x] = static_cast<T>(scale * sum);
}

template <class T>
__global__ void __launch_bounds__(backward_block_size)
    cross_entropy_backward_kernel(std::int64_t rows, std::int64_t classes, int lanes, double scale,
                                  const T* grad_loss, const T* logits, const std::int64_t* labels,
                                  T* grad_logits) {
  const RowLane at(rows, classes, lanes);
  const T* x = logits + at.row * classes;
  const SoftmaxRow<T> softmax = softmax_row(x, at);
  if (!at.exists) return;
  const std::int64_t label = labels[at.row];
  const bool valid = is_valid(label, classes);
  const T factor = static_cast<T>(scale) * *grad_loss;
  for (std::int64_t c = at.lane; c < classes; c += lanes) {
    const T probability = exp(x[c] - softmax.largest) / softmax.sum;
    grad_logits[at.row * classes + c] = valid ? factor * (probability - T(c == label)) : T(0);
  }
}

template <class T>
void forward(std::int64_t rows, std::int64_t classes, double scale, const T* logits,
             const std::int64_t* labels, T* loss) {
  Grid grid = row_grid(rows, classes, forward_block_size);
  grid.shared_bytes = block_sum_bytes;
  // One block even without rows: the loss is written in any case.
  grid.blocks = std::max(grid.blocks.x, 1u);
  sum_losses<forward_block_size>(grid.blocks.x, loss, [&](T* losses) {
    launch<cross_entropy_forward_kernel<T>>(grid, rows, classes, lanes_per_row(classes), scale, logits,
                                            labels, losses);
  });
}

template <class T>
void backward(std::int64_t rows, std::int64_t classes, double scale, const T* grad_loss, const T* logits,
              const std::int64_t* labels, T* grad_logits) {
  launch<cross_entropy_backward_kernel<T>>(row_grid(rows, classes, backward_block_size), rows, classes,
                                           lanes_per_row(classes), scale, grad_loss, logits, labels,
                                           grad_logits);
}

template <class T>
constexpr CrossEntropyKernels<T> cross_entropy{forward<T>, backward<T>};

}  // namespace

template <>
Tables<CrossEntropyKernels> tables() {
  return {&cross_entropy<float>, &cross_entropy<double>};
}

}  // namespace kg::kernels::cuda
