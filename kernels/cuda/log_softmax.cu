// SPDX-License-Identifier: MIT
#include "kernels/log_softmax.h"

#include "kernels/cuda/row_groups.h"

/// y = (x - m) - log(sum of exp(x - m)) over each row of [rows, classes], m the row's maximum; and its
/// gradient grad_output - exp(y) * (sum of grad_output).
///
/// A row belongs to a group of 1 to 32 lanes of a warp (row_groups.h): 4 lanes for the 10 classes of MNIST,
/// 8 rows to a warp; a warp from 65 classes on. Rows are read again from the L1 cache for each step, so that
/// any number of classes will do and DRAM sees 2 sizeof(T) bytes an element in forward and 3 sizeof(T) in
/// backward, for one exp. Deterministic: lanes add up their columns in order, and the groups' shuffles
/// combine in a fixed order.
namespace kg::kernels::cuda {

namespace {

/// Small: the 128 rows of a batch are to reach several multiprocessors.
constexpr int block_size = 128;

template <class T>
__global__ void __launch_bounds__(block_size)
    log_softmax_forward_kernel(std::int64_t rows, std::int64_t classes, int lanes, const T* input,
                               T* output) {
  const RowLane at(rows, classes, lanes);
  const T* x = input + at.row * classes;
  T* y = output + at.row * classes;
  const SoftmaxRow<T> softmax = softmax_row(x, at);
  // Not x - (largest + log(sum)): the logarithm would drown in a large maximum.
  const T log_sum = log(softmax.sum);
  for (std::int64_t c = at.lane; c < at.columns; c += lanes) y[c] = (x[c] - softmax.largest) - log_sum;
}

template <class T>
__global__ void __launch_bounds__(block_size)
    log_softmax_backward_kernel(std::int64_t rows, std::int64_t classes, int lanes, const T* output,
                                const T* grad_output, T* grad_input) {
  const RowLane at(rows, classes, lanes);
  const T *y = output + at.row * classes, *grad = grad_output + at.row * classes;
  T* result = grad_input + at.row * classes;
  T sum = 0;
  for (std::int64_t c = at.lane; c < at.columns; c += lanes) sum += grad[c];
  sum = group_reduce(sum, lanes, Sum());
  for (std::int64_t c = at.lane; c < at.columns; c += lanes) result[c] = grad[c] - exp(y[c]) * sum;
}

template <class T>
void forward(std::int64_t rows, std::int64_t classes, const T* input, T* output) {
  launch<log_softmax_forward_kernel<T>>(row_grid(rows, classes, block_size), rows, classes,
                                        lanes_per_row(classes), input, output);
}

template <class T>
void backward(std::int64_t rows, std::int64_t classes, const T* output, const T* grad_output, T* grad_input) {
  launch<log_softmax_backward_kernel<T>>(row_grid(rows, classes, block_size), rows, classes,
                                         lanes_per_row(classes), output, grad_output, grad_input);
}

template <class T>
constexpr LogSoftmaxKernels<T> log_softmax{forward<T>, backward<T>};

}  // namespace

template <>
Tables<LogSoftmaxKernels> tables() {
  return {&log_softmax<float>, &log_softmax<double>};
}

}  // namespace kg::kernels::cuda
