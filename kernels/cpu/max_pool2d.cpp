#include "kernels/max_pool2d.h"

#include <cmath>

#include "kernels/parallel.h"
#include "kernels/cpu/pool2d_window.h"

namespace kg::kernels::cpu {

namespace {

template <class T>
std::int32_t winner(const T* image, std::int64_t w, Window rows, Window columns) {
  std::int64_t best = rows.begin * w + columns.begin;
  for (std::int64_t y = rows.begin; y < rows.end; ++y)
    for (std::int64_t x = columns.begin; x < columns.end; ++x) {
      const T value = image[y * w + x];
      // The first NaN stays: nothing is greater than it, and it is not replaced by another.
      if (value > image[best] || (std::isnan(value) && !std::isnan(image[best]))) best = y * w + x;
    }
  return static_cast<std::int32_t>(best);
}

/// Windows of 2x2 side by side, by far the most common. No bounds and no branches, so that the compiler makes
/// vectors of it.
template <class T>
void pool_pairs(const Pool2dProblem& p, const T* image, T* output, std::int32_t* argmax) {
  const std::int64_t out_w = p.out_w();
  const std::int32_t w = static_cast<std::int32_t>(p.w);
  for (std::int64_t y = 0; y < p.out_h(); ++y, output += out_w, argmax += out_w) {
    const T *upper = image + 2 * y * w, *lower = upper + w;
    const std::int32_t first = 2 * static_cast<std::int32_t>(y) * w;
    for (std::int32_t x = 0; x < out_w; ++x) {
      T best = upper[2 * x];
      std::int32_t index = first + 2 * x;
      const auto challenge = [&](T value, std::int32_t at) {
        const bool wins = !(value <= best) & (best == best);
        index = wins ? at : index;
        best = wins ? value : best;
      };
      challenge(upper[2 * x + 1], first + 2 * x + 1);
      challenge(lower[2 * x], first + w + 2 * x);
      challenge(lower[2 * x + 1], first + w + 2 * x + 1);
      output[x] = best;
      argmax[x] = index;
    }
  }
}

template <class T>
void pool_windows(const Pool2dProblem& p, const T* image, T* output, std::int32_t* argmax) {
  for (std::int64_t y = 0; y < p.out_h(); ++y)
    for (std::int64_t x = 0; x < p.out_w(); ++x) {
      *argmax = winner(image, p.w, window_rows(p, y), window_columns(p, x));
      *output++ = image[*argmax++];
    }
}

template <class T>
void forward(const Pool2dProblem& p, const T* input, T* output, std::int32_t* argmax, Stream) {
  const bool pairs =
      p.k_h == 2 && p.k_w == 2 && p.stride_h == 2 && p.stride_w == 2 && p.padding_h == 0 && p.padding_w == 0;
  const auto pool = pairs ? pool_pairs<T> : pool_windows<T>;
  const std::int64_t out_plane = p.out_h() * p.out_w();
  parallel_for_ranges(p.planes, planes_per_task, [&](Range planes) {
    for (std::int64_t z = planes.begin; z < planes.end; ++z)
      pool(p, input + z * p.h * p.w, output + z * out_plane, argmax + z * out_plane);
  });
}

template <class T>
void backward(const Pool2dProblem& p, const T* grad_output, const std::int32_t* argmax, T* grad_input,
              Stream) {
  const std::int64_t out_plane = p.out_h() * p.out_w();
  parallel_for_ranges(p.planes, planes_per_task, [&](Range planes) {
    for (std::int64_t z = planes.begin; z < planes.end; ++z) {
      T* image = grad_input + z * p.h * p.w;
      std::fill(image, image + p.h * p.w, T(0));
      for (std::int64_t i = z * out_plane; i < (z + 1) * out_plane; ++i) image[argmax[i]] += grad_output[i];
    }
  });
}

}  // namespace

template <class T>
const MaxPool2dKernels<T>& max_pool2d() {
  static constexpr MaxPool2dKernels<T> kernels{forward<T>, backward<T>};
  return kernels;
}
template const MaxPool2dKernels<float>& max_pool2d();
template const MaxPool2dKernels<double>& max_pool2d();

}  // namespace kg::kernels::cpu
