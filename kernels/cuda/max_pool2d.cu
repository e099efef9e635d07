// SPDX-License-Identifier: MIT
#include "kernels/max_pool2d.h"

#include "kernelgrad/cuda/launch.h"
#include "kernels/cuda/pool2d_window.h"

/// output[z, y, x] = the largest of the pixels of window (y, x) in plane z, and argmax where it lies;
/// grad_input[z, p] = sum of grad_output[z, y, x] over the windows with argmax[z, y, x] = p.
///
/// Layout: planes one after the other, row-major. The elements of all planes are numbered through and shared
/// out among the threads of a one-dimensional grid, so any number of planes of any size fills it.
///
/// - Any windows. Forward: a thread owns a window, and walks over its pixels: k_h k_w comparisons. Backward:
/// a
///   thread owns a pixel and gathers from the windows that contain it, ceil(k / stride) in each direction at
///   most, in row-major order. Nobody else writes what a thread writes: no atomics, and the same bits always.
/// - Windows of 2x2 side by side on images of even height and width, by far the most common: both directions
///   give a thread a window. Its pixels are two pairs, loaded or stored 8 bytes (double: 16) at a time, and
///   no pixel belongs to another window. That halves the memory instructions of forward; backward needs a
///   quarter of the threads and index computations, and reads each window once instead of four times.
///
/// Memory traffic is all there is. Of float, with 2x2 windows, forward moves 16 + 8 bytes a window, backward
/// 8 + 16; both do 3 or 4 comparisons.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 256;

/// Whether `value` takes the place of `best`: NaN beats numbers, and the first of equals stays.
template <class T>
__device__ bool wins(T value, T best) {
  return !(value <= best) && best == best;
}

template <class T>
__global__ void __launch_bounds__(block_size)
    max_pool2d_forward_kernel(PoolWindows p, std::int64_t count, const T* input, T* output,
                              std::int32_t* argmax) {
  const std::int64_t index = global_thread<block_size>();
  if (index >= count) return;
  const PoolElement window(index, p.rows.windows, p.columns.windows);
  const PoolRange rows = p.rows.inside(window.y), columns = p.columns.inside(window.x);
  const int width = p.columns.extent;
  const T* image = input + window.plane * p.rows.extent * width;

  // The first pixel, not -infinity: padding must not win against an image of -infinity.
  int best = rows.begin * width + columns.begin;
  T best_value = image[best];
  for (int y = rows.begin; y < rows.end; ++y)
    for (int x = columns.begin; x < columns.end; ++x) {
      const T value = image[y * width + x];
      if (!wins(value, best_value)) continue;
      best = y * width + x;
      best_value = value;
    }
  output[index] = best_value;
  argmax[index] = best;
}

template <class T>
__global__ void __launch_bounds__(block_size)
    max_pool2d_backward_kernel(PoolWindows p, std::int64_t count, const T* grad_output,
                               const std::int32_t* argmax, T* grad_input) {
  const std::int64_t index = global_thread<block_size>();
  if (index >= count) return;
  const PoolElement pixel(index, p.rows.extent, p.columns.extent);
  const PoolRange rows = p.rows.over(pixel.y), columns = p.columns.over(pixel.x);
  const int own = pixel.y * p.columns.extent + pixel.x;
  const std::int64_t first_window = pixel.plane * p.rows.windows * p.columns.windows;

  T sum = 0;
  for (int y = rows.begin; y < rows.end; ++y)
    for (int x = columns.begin; x < columns.end; ++x) {
      const std::int64_t window = first_window + std::int64_t{y} * p.columns.windows + x;
      if (argmax[window] == own) sum += grad_output[window];
    }
  grad_input[index] = sum;
}

/// Two neighbouring pixels, in one access.
template <class T>
struct alignas(2 * sizeof(T)) PixelPair {
  T left, right;
};

/// A window of 2x2 among those that cover the planes.
struct WindowOfPairs {
  std::int64_t corner;  ///< its first pixel, counted from the first plane's
  int corner_in_plane;

  /// The rows of windows are numbered through all planes: the height is even, so that row r of windows is
  /// rows 2r and 2r + 1 of pixels of the whole stack.
  __device__ WindowOfPairs(std::int64_t index, int height, int width) {
    const int out_h = height / 2, out_w = width / 2;
    const std::int64_t row = index / out_w;
    const int x = static_cast<int>(index - row * out_w), y = static_cast<int>(row % out_h);
    corner = 2 * row * width + 2 * x;
    corner_in_plane = 2 * y * width + 2 * x;
  }
};

template <class T>
__global__ void __launch_bounds__(block_size)
    max_pool2d_forward_pairs_kernel(int height, int width, std::int64_t count, const T* input, T* output,
                                    std::int32_t* argmax) {
  const std::int64_t index = global_thread<block_size>();
  if (index >= count) return;
  const WindowOfPairs window(index, height, width);
  const T* corner = input + window.corner;
  const PixelPair<T> top = *reinterpret_cast<const PixelPair<T>*>(corner);
  const PixelPair<T> bottom = *reinterpret_cast<const PixelPair<T>*>(corner + width);

  T best = top.left;
  int offset = 0;
  const auto challenge = [&](T value, int value_offset) {
    if (!wins(value, best)) return;
    best = value;
    offset = value_offset;
  };
  challenge(top.right, 1);
  challenge(bottom.left, width);
  challenge(bottom.right, width + 1);
  output[index] = best;
  argmax[index] = window.corner_in_plane + offset;
}

template <class T>
__global__ void __launch_bounds__(block_size)
    max_pool2d_backward_pairs_kernel(int height, int width, std::int64_t count, const T* grad_output,
                                     const std::int32_t* argmax, T* grad_input) {
  const std::int64_t index = global_thread<block_size>();
  if (index >= count) return;
  const WindowOfPairs window(index, height, width);
  const int offset = argmax[index] - window.corner_in_plane;
  const T gradient = grad_output[index];
  const auto share = [&](int pixel_offset) { return pixel_offset == offset ? gradient : T(0); };

  T* corner = grad_input + window.corner;
  *reinterpret_cast<PixelPair<T>*>(corner) = {share(0), share(1)};
  *reinterpret_cast<PixelPair<T>*>(corner + width) = {share(width), share(width + 1)};
}

/// An even width keeps all pairs aligned: memory is, to far more than a pair, and rows are whole pairs long.
bool are_pairs(const Pool2dProblem& p) {
  return p.k_h == 2 && p.k_w == 2 && p.stride_h == 2 && p.stride_w == 2 && p.padding_h == 0 &&
         p.padding_w == 0 && p.h % 2 == 0 && p.w % 2 == 0;
}

template <class T>
void forward(const Pool2dProblem& p, const T* input, T* output, std::int32_t* argmax) {
  const PoolWindows windows("max_pool2d", p);
  const std::int64_t count = p.planes * p.out_h() * p.out_w();
  if (are_pairs(p))
    launch<max_pool2d_forward_pairs_kernel<T>>(grid_for<block_size>(count), windows.rows.extent,
                                               windows.columns.extent, count, input, output, argmax);
  else
    launch<max_pool2d_forward_kernel<T>>(grid_for<block_size>(count), windows, count, input, output, argmax);
}

template <class T>
void backward(const Pool2dProblem& p, const T*, const T*, const T* grad_output, const std::int32_t* argmax,
              T* grad_input) {
  const PoolWindows windows("max_pool2d", p);
  if (are_pairs(p)) {
    const std::int64_t count = p.planes * p.out_h() * p.out_w();
    launch<max_pool2d_backward_pairs_kernel<T>>(grid_for<block_size>(count), windows.rows.extent,
                                                windows.columns.extent, count, grad_output, argmax,
                                                grad_input);
  } else {
    const std::int64_t count = p.planes * p.h * p.w;
    launch<max_pool2d_backward_kernel<T>>(grid_for<block_size>(count), windows, count, grad_output, argmax,
                                          grad_input);
  }
}

template <class T>
constexpr MaxPool2dKernels<T> max_pool2d{plain<forward<T>>, plain<backward<T>>, true};

}  // namespace

template <>
Tables<MaxPool2dKernels> tables() {
  return {&max_pool2d<float>, &max_pool2d<double>};
}

}  // namespace kg::kernels::cuda
