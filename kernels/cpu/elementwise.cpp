// SPDX-License-Identifier: MIT
#include "kernels/elementwise.h"

#include <algorithm>
#include <variant>

#include "kernels/cpu/elementwise_blocks.h"
#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

/// Calls body(first output element, first of a, first of b, length) for the stretches of `range` along rows.
template <class Body>
void for_rows(const BroadcastRows& p, Range range, const Body& body) {
  for (std::int64_t i = range.begin; i < range.end;) {
    const std::int64_t column = i % p.row.extent;
    const std::int64_t length = std::min(p.row.extent - column, range.end - i);
    std::int64_t rest = i / p.row.extent, a = column * p.row.a_stride, b = column * p.row.b_stride;
    for (int d = p.outer_rank; d-- > 0; rest /= p.outer[d].extent) {
      a += rest % p.outer[d].extent * p.outer[d].a_stride;
      b += rest % p.outer[d].extent * p.outer[d].b_stride;
    }
    body(i, a, b, length);
    i += length;
  }
}

/// Calls element(i, x, y) for each element of the output, i, and those of a and b that it reads.
template <class T, class Element>
void for_elements(const BroadcastProblem& problem, const T* a, const T* b, const Element& element) {
  const BroadcastRows p(problem);
  const auto row = [&](std::int64_t first, std::int64_t a_first, std::int64_t b_first, std::int64_t length) {
    const T *x = a + a_first, *y = b + b_first;
    // Constant strides, so that the compiler makes vectors of the loops. Contiguous operands have no others
    // in the inner dimension.
    if (p.row.a_stride == 0)
      for (std::int64_t i = 0; i < length; ++i) element(first + i, x[0], y[i * (p.row.b_stride != 0)]);
    else if (p.row.b_stride == 0)
      for (std::int64_t i = 0; i < length; ++i) element(first + i, x[i], y[0]);
    else
      for (std::int64_t i = 0; i < length; ++i) element(first + i, x[i], y[i]);
  };
  parallel_for_ranges(p.rows * p.row.extent, elements_per_piece,
                      [&](Range range) { for_rows(p, range, row); });
}

template <class T>
void fill(std::int64_t count, double value, T* output) {
  std::fill_n(output, count, static_cast<T>(value));
}

template <class T>
void unary(const UnaryFunction& any, std::int64_t count, Input<T> input_array, Output<T> output_array) {
  const auto blocks = input_array.template form<Blocks<T>>();
  if (blocks && blocks->images() * blocks->count() == count)
    return unary_of_blocks<T>(any, blocks, output_array);
  const T* input = input_array;
  T* output = output_array;
  const auto compute = [&](const auto function) {
    parallel_for_ranges(count, elements_per_piece, [=](Range range) {
      for (std::int64_t i = range.begin; i < range.end; ++i) output[i] = function(input[i]);
    });
  };
  std::visit(compute, any);
}

template <class T>
void unary_backward(const UnaryFunction& any, std::int64_t count, Input<T> saved_array,
                    Input<T> gradient_array, Output<T> grad_input_array) {
  if (unary_backward_of_blocks(any, count, saved_array, gradient_array, grad_input_array)) return;
  const T *saved = saved_array, *grad_output = gradient_array;
  T* grad_input = grad_input_array;
  const auto compute = [&](const auto function) {
    // What is not saved is not read.
    const T* const known = function.saves == Saves::nothing ? grad_output : saved;
    parallel_for_ranges(count, elements_per_piece, [=](Range range) {
      for (std::int64_t i = range.begin; i < range.end; ++i)
        grad_input[i] = function.gradient(grad_output[i], known[i]);
    });
  };
  std::visit(compute, any);
}

template <class T>
void binary(const BinaryFunction& any, const BroadcastProblem& p, const T* a, const T* b, T* output) {
  const auto compute = [&](const auto function) {
    for_elements(p, a, b, [=](std::int64_t i, T x, T y) { output[i] = function(x, y); });
  };
  std::visit(compute, any);
}

template <class T>
void binary_backward(const BinaryFunction& any, const BroadcastProblem& p, bool of_first, const T* a,
                     const T* b, const T* grad_output, T* gradient) {
  const auto compute = [&](const auto function) {
    if (of_first)
      for_elements(p, a, b, [=](std::int64_t i, T x, T y) {
        gradient[i] = function.gradient_first(grad_output[i], x, y);
      });
    else
      for_elements(p, a, b, [=](std::int64_t i, T x, T y) {
        gradient[i] = function.gradient_second(grad_output[i], x, y);
      });
  };
  std::visit(compute, any);
}

template <class T>
constexpr ElementwiseKernels<T> elementwise{fill<T>, unary<T>, unary_backward<T>, binary<T>,
                                            binary_backward<T>};

}  // namespace

template <>
Tables<ElementwiseKernels> tables() {
  return {&elementwise<float>, &elementwise<double>};
}

}  // namespace kg::kernels::cpu
