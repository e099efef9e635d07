// SPDX-License-Identifier: MIT
#include "kernels/linear.h"

#include <algorithm>

#include "kernels/cpu/correlate.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/scratch.h"
#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

/// Rows of the result that one task computes.
constexpr std::int64_t rows_per_task = 16;

/// One operand of a product: element (k, i) lies at data[k * inner_stride + i * outer_stride].
template <class T>
struct Operand {
  const T* data;
  std::int64_t inner_stride, outer_stride;
};

/// c[m][n] = bias[n] + sum over k of a(k, m) * b(k, n). A matrix product is a correlation with one tap per k:
/// its "pixels" are the columns n, its "channels" the rows m.
template <class T>
void multiply(std::int64_t rows, std::int64_t columns, std::int64_t inner, Operand<T> a, Operand<T> b,
              const T* bias, T* c) {
  if (columns == 0) return;  // an image without width is nothing to correlate
  Array<T> source(static_cast<std::size_t>(inner * columns + correlate_slack));
  Array<std::int64_t> offsets(static_cast<std::size_t>(inner));
  for (std::int64_t k = 0; k < inner; ++k) {
    offsets[static_cast<std::size_t>(k)] = k * columns;
    for (std::int64_t n = 0; n < columns; ++n)
      source[static_cast<std::size_t>(k * columns + n)] = b.data[k * b.inner_stride + n * b.outer_stride];
  }
  parallel_for_ranges(rows, rows_per_task, [&](Range range) {
    thread_local Scratch<T> weight_memory;
    const std::int64_t channels = range.end - range.begin;
    T* weights = weight_memory.reserve(inner * channels);
    T* rows_of_c = c + range.begin * columns;
    convolution_loops().of<T>()->pack_weights({.data = a.data + range.begin * a.outer_stride,
                                               .tap_stride = a.inner_stride,
                                               .channel_stride = a.outer_stride,
                                               .taps = inner,
                                               .channels = channels},
                                              weights);
    convolution_loops().of<T>()->correlate({.source = source.data(),
                                            .offsets = offsets.data(),
                                            .taps = inner,
                                            .weights = weights,
                                            .bias = nullptr,
                                            .channels = channels,
                                            .rows = 1,
                                            .width = columns,
                                            .pitch = columns,
                                            .output = rows_of_c});
    for (std::int64_t i = 0; bias && i < channels * columns; ++i) rows_of_c[i] += bias[i % columns];
  });
}

template <class T>
void forward(const LinearProblem& p, const T* input, const T* weight, const T* bias, T* output) {
  multiply<T>(p.rows, p.out_features, p.in_features, {input, 1, p.in_features}, {weight, 1, p.in_features},
              bias, output);
}

template <class T>
void backward_input(const LinearProblem& p, const T* grad_output, const T* weight, T* grad_input) {
  multiply<T>(p.rows, p.in_features, p.out_features, {grad_output, 1, p.out_features},
              {weight, p.in_features, 1}, nullptr, grad_input);
}

template <class T>
void backward_weight(const LinearProblem& p, const T* input, const T* grad_output, T* grad_weight) {
  multiply<T>(p.out_features, p.in_features, p.rows, {grad_output, p.out_features, 1},
              {input, p.in_features, 1}, nullptr, grad_weight);
}

template <class T>
void backward_bias(const LinearProblem& p, const T* grad_output, T* grad_bias) {
  for (std::int64_t o = 0; o < p.out_features; ++o) {
    double sum = 0;
    for (std::int64_t r = 0; r < p.rows; ++r) sum += static_cast<double>(grad_output[r * p.out_features + o]);
    grad_bias[o] = static_cast<T>(sum);
  }
}

template <class T>
constexpr LinearKernels<T> linear{forward<T>, backward_input<T>, backward_weight<T>, backward_bias<T>};

}  // namespace

template <>
Tables<LinearKernels> tables() {
  return {&linear<float>, &linear<double>};
}

}  // namespace kg::kernels::cpu
