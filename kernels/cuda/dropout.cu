// SPDX-License-Identifier: MIT
#include "kernels/cuda/dropout.h"

#include "kernelgrad/cuda/launch.h"

/// y[i] = x[i] * (kept(i) ? 1 / (1 - p) : 0), forward and, on gradients, backward.
///
/// A thread owns four consecutive elements, which is what one evaluation of Philox4x32-10 draws for: of float
/// one 16-byte access each way. Traffic is 2 sizeof(T) bytes an element. Arithmetic: ten rounds of two 32-bit
/// products (low and high half) and four exclusive ors, 10 integer products an element; one comparison and
/// one multiplication. Every element depends on its own index and the draw's number alone, so the same input
/// gives the same bits.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 256;

template <class T>
__global__ void __launch_bounds__(block_size)
    dropout_apply_kernel(DropoutMask<T> mask, std::int64_t count, const T* input, T* output) {
  const std::int64_t first = global_thread<block_size>() * quad_size;
  Quad<T> quad = load_quad(input, first, count);
  mask.apply(mask.draw(), first, quad);
  store_quad(output, first, count, quad);
}

template <class T>
void apply(const DropoutProblem& problem, std::int64_t count, const T* input, T* output) {
  launch<dropout_apply_kernel<T>>(grid_for<block_size>(ceil_div(count, quad_size)), DropoutMask<T>(problem),
                                  count, input, output);
}

template <class T>
constexpr DropoutKernels<T> dropout{plain<apply<T>>};

}  // namespace

template <>
Tables<DropoutKernels> tables() {
  return {&dropout<float>, &dropout<double>};
}

}  // namespace kg::kernels::cuda
