// SPDX-License-Identifier: MIT
#include "kernels/avg_pool2d.h"

#include "kernelgrad/cuda/launch.h"
#include "kernels/cuda/pool2d_window.h"
#include "kernels/global_avg_pool2d.h"

/// output[z, y, x] = sum of the pixels of window (y, x) in plane z / divisor;
/// grad_input[z, p] = sum of grad_output[z, y, x] / divisor over the windows that contain p.
///
/// Layout: planes one after the other, row-major. The elements of all planes are numbered through and shared
/// out among the threads of a one-dimensional grid. Forward: a thread owns a window, and adds up its k_h k_w
/// pixels. Backward: a thread owns a pixel and gathers from the windows that contain it, ceil(k / stride) in
/// each direction at most. Both add in row-major order and nobody else writes what a thread writes: no
/// atomics, and the same bits always.
///
/// Memory traffic is all there is: (pixels + windows) sizeof(T) bytes in each direction, as long as the
/// windows' overlap is served by the cache.
///
/// A window that is the whole image, the usual end of a network, would leave a thread with hundreds of pixels
/// and the others idle. That is global_avg_pool2d, whose kernels do it.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 256;

/// What a window's sum is divided by.
template <class T>
struct Divisor {
  bool count_include_pad;
  T window_size;  ///< with the padding

  __device__ T operator()(PoolRange rows, PoolRange columns) const {
    return count_include_pad ? window_size
                             : static_cast<T>((rows.end - rows.begin) * (columns.end - columns.begin));
  }
};

template <class T>
__global__ void __launch_bounds__(block_size)
    avg_pool2d_forward_kernel(PoolWindows p, Divisor<T> divisor, std::int64_t count, const T* input,
                              T* output) {
  const std::int64_t index = global_thread<block_size>();
  if (index >= count) return;
  const PoolElement window(index, p.rows.windows, p.columns.windows);
  const PoolRange rows = p.rows.inside(window.y), columns = p.columns.inside(window.x);
  const int width = p.columns.extent;
  const T* image = input + window.plane * p.rows.extent * width;

  T sum = 0;
  for (int y = rows.begin; y < rows.end; ++y)
    for (int x = columns.begin; x < columns.end; ++x) sum += image[y * width + x];
  output[index] = sum / divisor(rows, columns);
}

template <class T>
__global__ void __launch_bounds__(block_size)
    avg_pool2d_backward_kernel(PoolWindows p, Divisor<T> divisor, std::int64_t count, const T* grad_output,
                               T* grad_input) {
  const std::int64_t index = global_thread<block_size>();
  if (index >= count) return;
  const PoolElement pixel(index, p.rows.extent, p.columns.extent);
  const PoolRange rows = p.rows.over(pixel.y), columns = p.columns.over(pixel.x);
  const T* windows = grad_output + pixel.plane * p.rows.windows * p.columns.windows;

  T sum = 0;
  for (int y = rows.begin; y < rows.end; ++y)
    for (int x = columns.begin; x < columns.end; ++x)
      sum +=
          windows[std::int64_t{y} * p.columns.windows + x] / divisor(p.rows.inside(y), p.columns.inside(x));
  grad_input[index] = sum;
}

bool is_global(const Pool2dProblem& p) {
  return p.k_h == p.h && p.k_w == p.w && p.padding_h == 0 && p.padding_w == 0;
}

template <class T>
Divisor<T> divisor_of(const Pool2dProblem& p, bool count_include_pad) {
  return {.count_include_pad = count_include_pad, .window_size = static_cast<T>(p.k_h * p.k_w)};
}

template <class T>
void forward(const Pool2dProblem& p, bool count_include_pad, const T* input, T* output) {
  if (is_global(p))
    return tables<GlobalAvgPool2dKernels>().of<T>()->forward(p.planes, p.h * p.w, input, output);
  const std::int64_t count = p.planes * p.out_h() * p.out_w();
  launch<avg_pool2d_forward_kernel<T>>(grid_for<block_size>(count), PoolWindows("avg_pool2d", p),
                                       divisor_of<T>(p, count_include_pad), count, input, output);
}

template <class T>
void backward(const Pool2dProblem& p, bool count_include_pad, const T* grad_output, T* grad_input) {
  if (is_global(p))
    return tables<GlobalAvgPool2dKernels>().of<T>()->backward(p.planes, p.h * p.w, grad_output, grad_input);
  const std::int64_t count = p.planes * p.h * p.w;
  launch<avg_pool2d_backward_kernel<T>>(grid_for<block_size>(count), PoolWindows("avg_pool2d", p),
                                        divisor_of<T>(p, count_include_pad), count, grad_output, grad_input);
}

template <class T>
constexpr AvgPool2dKernels<T> avg_pool2d{plain<forward<T>>, plain<backward<T>>};

}  // namespace

template <>
Tables<AvgPool2dKernels> tables() {
  return {&avg_pool2d<float>, &avg_pool2d<double>};
}

}  // namespace kg::kernels::cuda
