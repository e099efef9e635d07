#include "kernels/elementwise.h"

#include <algorithm>

#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

std::int64_t count_of(const BroadcastProblem& p) {
  std::int64_t count = 1;
  for (int d = 0; d < p.rank; ++d) count *= p.shape[static_cast<std::size_t>(d)];
  return count;
}

/// True if neither operand is broadcast: then both are read in order.
bool is_plain(const BroadcastProblem& p) {
  std::int64_t stride = 1;
  for (std::size_t d = static_cast<std::size_t>(p.rank); d-- > 0; stride *= p.shape[d])
    if (p.shape[d] != 1 && (p.a_strides[d] != stride || p.b_strides[d] != stride)) return false;
  return true;
}

template <class T, class Combine>
void combine(const BroadcastProblem& p, const T* a, const T* b, T* output, const Combine& op) {
  const bool plain = is_plain(p);
  parallel_for_ranges(count_of(p), elements_per_piece, [&](Range range) {
    if (plain) {
      for (std::int64_t i = range.begin; i < range.end; ++i) output[i] = op(a[i], b[i]);
      return;
    }
    for (std::int64_t i = range.begin; i < range.end; ++i) {
      std::int64_t rest = i, a_index = 0, b_index = 0;
      for (std::size_t d = static_cast<std::size_t>(p.rank); d-- > 0; rest /= p.shape[d]) {
        a_index += rest % p.shape[d] * p.a_strides[d];
        b_index += rest % p.shape[d] * p.b_strides[d];
      }
      output[i] = op(a[a_index], b[b_index]);
    }
  });
}

template <class T>
void fill(std::int64_t count, double value, T* output, Stream) {
  std::fill_n(output, count, static_cast<T>(value));
}

template <class T>
void add(const BroadcastProblem& p, const T* a, const T* b, T* output, Stream) {
  combine(p, a, b, output, [](T x, T y) { return x + y; });
}

template <class T>
void mul(const BroadcastProblem& p, const T* a, const T* b, T* output, Stream) {
  combine(p, a, b, output, [](T x, T y) { return x * y; });
}

template <class T>
void scale(std::int64_t count, double factor, const T* input, T* output, Stream) {
  parallel_for_ranges(count, elements_per_piece, [&](Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) output[i] = static_cast<T>(factor) * input[i];
  });
}

template <class T>
void accumulate(std::int64_t count, const T* input, T* accumulator, Stream) {
  parallel_for_ranges(count, elements_per_piece, [&](Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) accumulator[i] += input[i];
  });
}

}  // namespace

template <class T>
const ElementwiseKernels<T>& elementwise() {
  static constexpr ElementwiseKernels<T> kernels{fill<T>, add<T>, mul<T>, scale<T>, accumulate<T>};
  return kernels;
}
template const ElementwiseKernels<float>& elementwise();
template const ElementwiseKernels<double>& elementwise();

}  // namespace kg::kernels::cpu
