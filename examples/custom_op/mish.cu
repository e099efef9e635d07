// SPDX-License-Identifier: MIT
#include "mish.h"

#include "kernelgrad/cuda.h"

// A thread takes 16 bytes of each array: the widest load and store that there is. Forward moves 2 sizeof(T)
// bytes an element, backward 3.

namespace {

constexpr int block_size = 256;

template <class T>
__device__ std::int64_t first_of_thread() {
  return kg::cuda::global_thread<block_size>() * kg::cuda::pack_size<T>;
}

template <class T>
__global__ void __launch_bounds__(block_size)
    mish_forward_kernel(std::int64_t count, const T* input, T* output) {
  const std::int64_t first = first_of_thread<T>();
  kg::cuda::Pack<T> pack = kg::cuda::load_pack(input, first, count);
  for (T& x : pack.values) x = Mish::value(x);
  kg::cuda::store_pack(output, first, count, pack);
}

template <class T>
__global__ void __launch_bounds__(block_size)
    mish_backward_kernel(std::int64_t count, const T* input, const T* grad_output, T* grad_input) {
  const std::int64_t first = first_of_thread<T>();
  const kg::cuda::Pack<T> x = kg::cuda::load_pack(input, first, count);
  kg::cuda::Pack<T> grad = kg::cuda::load_pack(grad_output, first, count);
  for (int i = 0; i < kg::cuda::pack_size<T>; ++i) grad.values[i] *= Mish::derivative(x.values[i]);
  kg::cuda::store_pack(grad_input, first, count, grad);
}

template <class T>
kg::cuda::Grid grid_of(std::int64_t count) {
  return kg::cuda::grid_for<block_size>(kg::cuda::ceil_div(count, kg::cuda::pack_size<T>));
}

}  // namespace

template <class T>
void mish_forward_cuda(std::int64_t count, const T* input, T* output) {
  kg::cuda::launch<mish_forward_kernel<T>>(grid_of<T>(count), count, input, output);
}

template <class T>
void mish_backward_cuda(std::int64_t count, const T* input, const T* grad_output, T* grad_input) {
  kg::cuda::launch<mish_backward_kernel<T>>(grid_of<T>(count), count, input, grad_output, grad_input);
}

template void mish_forward_cuda(std::int64_t, const float*, float*);
template void mish_forward_cuda(std::int64_t, const double*, double*);
template void mish_backward_cuda(std::int64_t, const float*, const float*, float*);
template void mish_backward_cuda(std::int64_t, const double*, const double*, double*);
