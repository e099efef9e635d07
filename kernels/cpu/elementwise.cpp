// SPDX-License-Identifier: MIT
#include "kernels/elementwise.h"

#include <algorithm>
#include <variant>
#include <vector>

#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

/// A broadcast problem with as few dimensions as it can be described with, outermost first: dimensions that
/// both operands walk through in one stride are one. Two tensors of one shape have one dimension; [n, c, h,
/// w] with [c, 1, 1] has three.
struct Walk {
  struct Dimension {
    std::int64_t extent, a_stride, b_stride;
  };
  std::vector<Dimension> outer;
  Dimension inner{1, 0, 0};

  explicit Walk(const BroadcastProblem& p) {
    for (std::size_t d = 0; d < static_cast<std::size_t>(p.rank); ++d) {
      const Dimension next{p.shape[d], p.a_strides[d], p.b_strides[d]};
      if (next.extent == 1) continue;
      if (inner.extent == 1) {
        inner = next;
      } else if (inner.a_stride == next.extent * next.a_stride &&
                 inner.b_stride == next.extent * next.b_stride) {
        inner = {inner.extent * next.extent, next.a_stride, next.b_stride};
      } else {
        outer.push_back(inner);
        inner = next;
      }
    }
  }
};

/// Calls row(first output element, first of a, first of b, length) for the stretches of `range` along the
/// inner dimension.
template <class Row>
void for_rows(const Walk& walk, Range range, const Row& row) {
  for (std::int64_t i = range.begin; i < range.end;) {
    const std::int64_t column = i % walk.inner.extent;
    const std::int64_t length = std::min(walk.inner.extent - column, range.end - i);
    std::int64_t rest = i / walk.inner.extent, a = column * walk.inner.a_stride,
                 b = column * walk.inner.b_stride;
    for (std::size_t d = walk.outer.size(); d-- > 0; rest /= walk.outer[d].extent) {
      a += rest % walk.outer[d].extent * walk.outer[d].a_stride;
      b += rest % walk.outer[d].extent * walk.outer[d].b_stride;
    }
    row(i, a, b, length);
    i += length;
  }
}

/// Calls element(i, x, y) for each element of the output, i, and those of a and b that it reads.
template <class T, class Element>
void for_elements(const BroadcastProblem& p, const T* a, const T* b, const Element& element) {
  std::int64_t count = 1;
  for (int d = 0; d < p.rank; ++d) count *= p.shape[static_cast<std::size_t>(d)];
  const Walk walk(p);
  const auto row = [&](std::int64_t first, std::int64_t a_first, std::int64_t b_first, std::int64_t length) {
    const T *x = a + a_first, *y = b + b_first;
    // Constant strides, so that the compiler makes vectors of the loops. Contiguous operands have no others
    // in the inner dimension.
    if (walk.inner.a_stride == 0)
      for (std::int64_t i = 0; i < length; ++i) element(first + i, x[0], y[i * (walk.inner.b_stride != 0)]);
    else if (walk.inner.b_stride == 0)
      for (std::int64_t i = 0; i < length; ++i) element(first + i, x[i], y[0]);
    else
      for (std::int64_t i = 0; i < length; ++i) element(first + i, x[i], y[i]);
  };
  parallel_for_ranges(count, elements_per_piece, [&](Range range) { for_rows(walk, range, row); });
}

template <class T>
void fill(std::int64_t count, double value, T* output) {
  std::fill_n(output, count, static_cast<T>(value));
}

template <class T>
void unary(const UnaryFunction& any, std::int64_t count, const T* input, T* output) {
  const auto compute = [&](const auto function) {
    parallel_for_ranges(count, elements_per_piece, [=](Range range) {
      for (std::int64_t i = range.begin; i < range.end; ++i) output[i] = function(input[i]);
    });
  };
  std::visit(compute, any);
}

template <class T>
void unary_backward(const UnaryFunction& any, std::int64_t count, const T* saved, const T* grad_output,
                    T* grad_input) {
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
