// SPDX-License-Identifier: MIT
#include "kernels/cuda/conv2d_parts.h"

#include "kernelgrad/cuda/launch.h"

/// Convolution and its input gradient with any stride, padding, dilation and number of groups:
///
///     output[n,o,y,x] = bias[o] + sum over (i, j, c) of weight[o,c,i,j] * input[n, c, y*stride - padding +
///                       i*dilation, x*stride - padding + j*dilation]
///     grad_input[n,c,y,x] = sum over (i, j, o) of weight[o,c,i,j] * grad_output[n, o, (y + padding -
///                           i*dilation) / stride, (x + padding - j*dilation) / stride], where both are whole
///
/// with c and o running over the channels of one group. Outside of an image input and grad_output are 0.
///
/// A thread owns one element of the result and adds up its products in the order written: no two threads
/// write to the same place, and the order follows from the problem. Neighbouring threads own neighbouring
/// pixels, so that with a stride of 1 a warp reads contiguous memory and a single weight at a time. Channels
/// are the inner loop because all else (where a tap lies, whether it is outside) does not depend on them.
///
/// Forward does 2 * n * c_out * out_h * out_w * (c_in / groups) * k_h * k_w FLOPs and reads two numbers for
/// each two of them, from the caches as far as they reach: the kernel for what conv2d_tiled.cu does not take.
///
/// Everything is in 64 bits: nothing here is too large. The compiler divides by way of 32 bits where the
/// operands fit.
namespace kg::kernels::cuda {

namespace {

/// Little enough for small problems to reach several multiprocessors.
constexpr int block_size = 128;

/// Place of an element in a contiguous array [n][c][h][w].
struct Element {
  std::int64_t n, c, y, x;

  __device__ Element(std::int64_t index, std::int64_t channels, std::int64_t h, std::int64_t w) {
    const std::int64_t row = index / w, plane = row / h;
    n = plane / channels;
    c = plane - n * channels;
    y = row - plane * h;
    x = index - row * w;
  }
};

__device__ bool is_inside(std::int64_t y, std::int64_t x, std::int64_t h, std::int64_t w) {
  return y >= 0 && y < h && x >= 0 && x < w;
}

template <class T>
__global__ void __launch_bounds__(block_size)
    conv2d_forward_general_kernel(const Conv2dProblem p, std::int64_t out_h, std::int64_t out_w,
                                  const T* __restrict__ input, const T* __restrict__ weight,
                                  const T* __restrict__ bias, T* __restrict__ output) {
  const std::int64_t index = global_thread<block_size>();
  if (index >= p.n * p.c_out * out_h * out_w) return;
  const Element at(index, p.c_out, out_h, out_w);
  const std::int64_t channels = p.c_in / p.groups, group = at.c / (p.c_out / p.groups);
  const T* const image = input + (at.n * p.c_in + group * channels) * p.h * p.w;
  const T* const filter = weight + at.c * channels * p.k_h * p.k_w;
  T sum = 0;
  for (std::int64_t i = 0; i < p.k_h; ++i)
    for (std::int64_t j = 0; j < p.k_w; ++j) {
      const std::int64_t y = at.y * p.stride_h - p.padding_h + i * p.dilation_h,
                         x = at.x * p.stride_w - p.padding_w + j * p.dilation_w;
      const bool inside = is_inside(y, x, p.h, p.w);
      // Outside, 0 is multiplied, not left out: a weight that is not a number must show.
      for (std::int64_t c = 0; c < channels; ++c)
        sum += filter[(c * p.k_h + i) * p.k_w + j] * (inside ? image[(c * p.h + y) * p.w + x] : T(0));
    }
  output[index] = bias ? sum + bias[at.c] : sum;
}

template <class T>
__global__ void __launch_bounds__(block_size)
    conv2d_backward_input_general_kernel(const Conv2dProblem p, std::int64_t out_h, std::int64_t out_w,
                                         const T* __restrict__ grad_output, const T* __restrict__ weight,
                                         T* __restrict__ grad_input) {
  const std::int64_t index = global_thread<block_size>();
  if (index >= p.n * p.c_in * p.h * p.w) return;
  const Element at(index, p.c_in, p.h, p.w);
  const std::int64_t c_in = p.c_in / p.groups, c_out = p.c_out / p.groups, group = at.c / c_in;
  const T* const image = grad_output + (at.n * p.c_out + group * c_out) * out_h * out_w;
  const T* const filter = weight + (group * c_out * c_in + at.c % c_in) * p.k_h * p.k_w;
  T sum = 0;
  for (std::int64_t i = 0; i < p.k_h; ++i) {
    const std::int64_t from_y = at.y + p.padding_h - i * p.dilation_h;
    const std::int64_t y = from_y / p.stride_h;
    if (y * p.stride_h != from_y) continue;
    for (std::int64_t j = 0; j < p.k_w; ++j) {
      const std::int64_t from_x = at.x + p.padding_w - j * p.dilation_w;
      const std::int64_t x = from_x / p.stride_w;
      if (x * p.stride_w != from_x) continue;
      const bool inside = is_inside(y, x, out_h, out_w);
      for (std::int64_t o = 0; o < c_out; ++o)
        sum +=
            filter[(o * c_in * p.k_h + i) * p.k_w + j] * (inside ? image[(o * out_h + y) * out_w + x] : T(0));
    }
  }
  grad_input[index] = sum;
}

}  // namespace

template <class T>
void conv2d_forward_general(const Conv2dProblem& p, const T* input, const T* weight, const T* bias,
                            T* output) {
  launch<conv2d_forward_general_kernel<T>>(grid_for<block_size>(p.n * p.c_out * p.out_h() * p.out_w()), p,
                                           p.out_h(), p.out_w(), input, weight, bias, output);
}
template void conv2d_forward_general(const Conv2dProblem&, const float*, const float*, const float*, float*);
template void conv2d_forward_general(const Conv2dProblem&, const double*, const double*, const double*,
                                     double*);

template <class T>
void conv2d_backward_input_general(const Conv2dProblem& p, const T* grad_output, const T* weight,
                                   T* grad_input) {
  launch<conv2d_backward_input_general_kernel<T>>(grid_for<block_size>(p.n * p.c_in * p.h * p.w), p,
                                                  p.out_h(), p.out_w(), grad_output, weight, grad_input);
}
template void conv2d_backward_input_general(const Conv2dProblem&, const float*, const float*, float*);
template void conv2d_backward_input_general(const Conv2dProblem&, const double*, const double*, double*);

}  // namespace kg::kernels::cuda
