// SPDX-License-Identifier: MIT
#include "kernels/log_softmax.h"

#include <algorithm>
#include <cmath>

#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

constexpr std::int64_t rows_per_task = 64;

template <class T>
void forward(std::int64_t rows, std::int64_t classes, const T* input, T* output) {
  parallel_for_ranges(rows, rows_per_task, [&](Range range) {
    for (std::int64_t r = range.begin; r < range.end; ++r) {
      const T* x = input + r * classes;
      const T largest = *std::max_element(x, x + classes);
      T sum = 0;
      for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - largest);
      // Not x - (largest + log(sum)): the logarithm would drown in a large maximum.
      const T log_sum = std::log(sum);
      for (std::int64_t c = 0; c < classes; ++c) output[r * classes + c] = (x[c] - largest) - log_sum;
    }
  });
}

template <class T>
void backward(std::int64_t rows, std::int64_t classes, const T* output, const T* grad_output, T* grad_input) {
  parallel_for_ranges(rows, rows_per_task, [&](Range range) {
    for (std::int64_t r = range.begin; r < range.end; ++r) {
      const T *y = output + r * classes, *grad = grad_output + r * classes;
      T sum = 0;
      for (std::int64_t c = 0; c < classes; ++c) sum += grad[c];
      for (std::int64_t c = 0; c < classes; ++c) grad_input[r * classes + c] = grad[c] - std::exp(y[c]) * sum;
    }
  });
}

template <class T>
constexpr LogSoftmaxKernels<T> log_softmax{forward<T>, backward<T>};

}  // namespace

template <>
Tables<LogSoftmaxKernels> tables() {
  return {&log_softmax<float>, &log_softmax<double>};
}

}  // namespace kg::kernels::cpu
