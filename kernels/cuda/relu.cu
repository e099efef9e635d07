#include "kernels/relu.h"

#include "kernels/cuda/common/elements.h"
#include "kernels/cuda/common/launch.h"
#include "kernels/cuda/common/vec.h"

/// y = max(x, 0) and its gradient, element by element.
///
/// A thread owns one 16-byte pack of consecutive elements: neighbouring threads touch neighbouring packs, so
/// that every access of a warp is 512 contiguous bytes. Memory traffic is all there is: forward moves 2
/// sizeof(T) bytes an element, backward 3 sizeof(T), for one comparison.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 256;

template <class T>
__global__ void __launch_bounds__(block_size)
    relu_forward_kernel(std::int64_t count, const T* input, T* output) {
  const std::int64_t first = global_thread<block_size>() * pack_size<T>;
  Pack<T> pack = load_pack(input, first, count);
  // Written so that NaN, which is not below 0, passes.
  for (T& value : pack.values) value = value < T(0) ? T(0) : value;
  store_pack(output, first, count, pack);
}

template <class T>
__global__ void __launch_bounds__(block_size)
    relu_backward_kernel(std::int64_t count, const T* output, const T* grad_output, T* grad_input) {
  const std::int64_t first = global_thread<block_size>() * pack_size<T>;
  const Pack<T> result = load_pack(output, first, count);
  Pack<T> gradient = load_pack(grad_output, first, count);
  for (int i = 0; i < pack_size<T>; ++i)
    if (result.values[i] <= T(0)) gradient.values[i] = T(0);
  store_pack(grad_input, first, count, gradient);
}

template <class T>
void forward(std::int64_t count, const T* input, T* output) {
  launch<relu_forward_kernel<T>>(grid_for<block_size>(ceil_div(count, pack_size<T>)), count, input, output);
}

template <class T>
void backward(std::int64_t count, const T* output, const T* grad_output, T* grad_input) {
  launch<relu_backward_kernel<T>>(grid_for<block_size>(ceil_div(count, pack_size<T>)), count, output,
                                  grad_output, grad_input);
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

}  // namespace kg::kernels::cuda
