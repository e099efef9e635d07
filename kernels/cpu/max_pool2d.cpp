// SPDX-License-Identifier: MIT
#include "kernels/max_pool2d.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/max_pool2d_pairs.h"
#include "kernels/cpu/pool2d_window.h"
#include "kernels/cpu/simd_level.h"
#include "kernels/parallel.h"
#include "kernels/variant.h"

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

template <class T>
void pool_windows(const Pool2dProblem& p, const T* image, T* output, std::int32_t* argmax) {
  for (std::int64_t y = 0; y < p.out_h(); ++y)
    for (std::int64_t x = 0; x < p.out_w(); ++x) {
      *argmax = winner(image, p.w, window_rows(p, y), window_columns(p, x));
      *output++ = image[*argmax++];
    }
}

template <class T>
bool are_pairs(const Pool2dProblem& p) {
  return p.k_h == 2 && p.k_w == 2 && p.stride_h == 2 && p.stride_w == 2 && p.padding_h == 0 &&
         p.padding_w == 0 && PoolPairs<T>::fits(p.h, p.w);
}

template <class T>
void forward(const Pool2dProblem& p, const T* input, T* output, std::int32_t* argmax) {
  const bool pairs = are_pairs<T>(p);
  note_variant(pairs ? simd_level() : "windows");
  const std::int64_t out_plane = p.out_h() * p.out_w();
  parallel_for_ranges(p.planes, planes_per_task, [&](Range planes) {
    for (std::int64_t z = planes.begin; z < planes.end; ++z) {
      const T* image = input + z * p.h * p.w;
      if (pairs)
        PoolPairs<T>{p.h, p.w}.forward(image, output + z * out_plane, argmax + z * out_plane);
      else
        pool_windows(p, image, output + z * out_plane, argmax + z * out_plane);
    }
  });
}

template <class T>
void backward(const Pool2dProblem& p, const T*, const T*, const T* grad_output, const std::int32_t* argmax,
              T* grad_input) {
  const bool pairs = are_pairs<T>(p);
  note_variant(pairs ? simd_level() : "windows");
  const std::int64_t out_plane = p.out_h() * p.out_w();
  parallel_for_ranges(p.planes, planes_per_task, [&](Range planes) {
    for (std::int64_t z = planes.begin; z < planes.end; ++z) {
      T* image = grad_input + z * p.h * p.w;
      if (pairs) {
        PoolPairs<T>{p.h, p.w}.backward(grad_output + z * out_plane, argmax + z * out_plane, image);
        continue;
      }
      std::fill(image, image + p.h * p.w, T(0));
      for (std::int64_t i = z * out_plane; i < (z + 1) * out_plane; ++i) image[argmax[i]] += grad_output[i];
    }
  });
}

template <class T>
constexpr MaxPool2dKernels<T> max_pool2d{forward<T>, backward<T>, true};

}  // namespace

template <>
Tables<MaxPool2dKernels> tables() {
  return {&max_pool2d<float>, &max_pool2d<double>};
}

}  // namespace kg::kernels::cpu
