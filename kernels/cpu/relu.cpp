#include "kernels/relu.h"

#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

template <class T>
void forward(std::int64_t count, const T* input, T* output) {
  parallel_for_ranges(count, elements_per_piece, [&](Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) output[i] = input[i] < 0 ? T(0) : input[i];
  });
}

template <class T>
void backward(std::int64_t count, const T* output, const T* grad_output, T* grad_input) {
  parallel_for_ranges(count, elements_per_piece, [&](Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i)
      grad_input[i] = output[i] <= 0 ? T(0) : grad_output[i];
  });
}

template <class T>
constexpr ReluKernels<T> relu{forward<T>, backward<T>};

}  // namespace

template <>
const ReluKernels<float>* table() {
  return &relu<float>;
}
template <>
const ReluKernels<double>* table() {
  return &relu<double>;
}

}  // namespace kg::kernels::cpu
