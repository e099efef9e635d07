// SPDX-License-Identifier: MIT
#include "kernels/global_avg_pool2d.h"

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"
#include "kernelgrad/cuda/vec.h"

/// output[z] = mean of plane z, grad_input[z, i] = grad_output[z] / plane.
///
/// Layout: planes of `plane` elements, one after the other.
///
/// Forward: a group of lanes of one warp owns a plane. Lane l adds up elements l, l + lanes, ... in double
/// precision, as the CPU does, then the lanes' sums are combined in registers: no shared memory, no barrier,
/// and an order that depends on the problem alone. 8 lanes for the small planes at the end of a network: 49
/// elements are 7 rounds of loads that keep 7/8 of the lanes busy, and 4 planes share the instructions of a
/// warp. 32 lanes for larger planes.
///
/// Backward: a thread owns 16 bytes of grad_input, wherever in the planes they lie.
///
/// Forward reads plane * sizeof(T) bytes a plane and does as many additions; backward writes as many bytes.
namespace kg::kernels::cuda {

namespace {

/// Small, to spread over many multiprocessors what is often only some hundred planes.
constexpr int block_size = 128;

template <class T, int lanes>
__global__ void __launch_bounds__(block_size)
    global_avg_pool2d_forward_kernel(std::int64_t planes, std::int64_t plane, const T* input, T* output) {
  const std::int64_t z = global_thread<block_size>() / lanes;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  // Not an early return: the shuffles want every lane of a warp.
  const bool exists = z < planes;
  double sum = 0;
  if (exists)
    for (std::int64_t i = lane; i < plane; i += lanes) sum += static_cast<double>(input[z * plane + i]);
  sum = warp_reduce<lanes>(sum, Sum());
  if (exists && lane == 0) output[z] = static_cast<T>(sum / static_cast<double>(plane));
}

template <class T>
__global__ void __launch_bounds__(block_size)
    global_avg_pool2d_backward_kernel(std::int64_t count, std::int64_t plane, const T* grad_output,
                                      T* grad_input) {
  const std::int64_t first = global_thread<block_size>() * pack_size<T>;
  std::int64_t z = first / plane, next_plane = (z + 1) * plane;
  Pack<T> pack{};
  for (int i = 0; i < pack_size<T>; ++i) {
    if (first + i == next_plane) {
      ++z;
      next_plane += plane;
    }
    if (first + i < count) pack.values[i] = grad_output[z] / static_cast<T>(plane);
  }
  store_pack(grad_input, first, count, pack);
}

template <class T, int lanes>
void forward_with(std::int64_t planes, std::int64_t plane, const T* input, T* output) {
  launch<global_avg_pool2d_forward_kernel<T, lanes>>(grid_for<block_size>(planes * lanes), planes, plane,
                                                     input, output);
}

template <class T>
void forward(std::int64_t planes, std::int64_t plane, const T* input, T* output) {
  // From here on 32 lanes have at least 4 rounds of loads, in which at least 4/5 of them are busy.
  constexpr std::int64_t large = 128;
  if (plane < large)
    forward_with<T, 8>(planes, plane, input, output);
  else
    forward_with<T, warp_size>(planes, plane, input, output);
}

template <class T>
void backward(std::int64_t planes, std::int64_t plane, const T* grad_output, T* grad_input) {
  const std::int64_t count = planes * plane;
  launch<global_avg_pool2d_backward_kernel<T>>(grid_for<block_size>(ceil_div(count, pack_size<T>)), count,
                                               plane, grad_output, grad_input);
}

template <class T>
constexpr GlobalAvgPool2dKernels<T> global_avg_pool2d{plain<forward<T>>, plain<backward<T>>};

}  // namespace

template <>
Tables<GlobalAvgPool2dKernels> tables() {
  return {&global_avg_pool2d<float>, &global_avg_pool2d<double>};
}

}  // namespace kg::kernels::cuda
