// SPDX-License-Identifier: MIT
#include "kernels/max_pool2d.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/max_pool2d_blocks.h"
#include "kernels/cpu/pool2d_window.h"
#include "kernels/cpu/simd_level.h"
#include "kernels/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/max_pool2d.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// At most 4 windows at once, which every row of are_pairs() has: maps of this size are 4 to 14 windows wide.
template <class T>
using Lanes = hn::CappedTag<T, 4>;

/// Calls f(first window) so that vectors of windows cover a row, the last flush with its end, over part of
/// the one before.
template <class T, class F>
HWY_INLINE void for_windows(std::int64_t windows, const F& f) {
  const std::int64_t lanes = hn::Lanes(Lanes<T>());
  for (std::int64_t x = 0; x + lanes < windows; x += lanes) f(x);
  f(windows - lanes);
}

/// The indices of the upper left pixels of the windows from x on, as T.
template <class T>
HWY_INLINE auto upper_left(std::int64_t row, std::int64_t w, std::int64_t x) {
  const Lanes<T> d;
  const auto window = hn::Iota(d, T(0));
  return hn::Add(hn::Add(window, window), hn::Set(d, static_cast<T>(row * w + 2 * x)));
}

template <class T>
void forward_pairs(std::int64_t h, std::int64_t w, const T* input, T* output, std::int32_t* argmax) {
  const Lanes<T> d;
  const hn::Rebind<std::int32_t, Lanes<T>> di;
  const std::int64_t out_w = w / 2;
  for (std::int64_t y = 0; y + 1 < h; y += 2, output += out_w, argmax += out_w)
    for_windows<T>(out_w, [&](std::int64_t x) HWY_ATTR {
      hn::Vec<Lanes<T>> pixels[4];
      hn::LoadInterleaved2(d, input + y * w + 2 * x, pixels[0], pixels[1]);
      hn::LoadInterleaved2(d, input + (y + 1) * w + 2 * x, pixels[2], pixels[3]);
      const std::int64_t steps[4] = {0, 1, w, w + 1};
      const auto first = upper_left<T>(y, w, x);
      auto best = pixels[0], index = first;
      for (int i = 1; i < 4; ++i) {
        // The first NaN stays: nothing is greater than it, and it is not replaced by another.
        const auto wins = hn::And(hn::Not(hn::Le(pixels[i], best)), hn::Eq(best, best));
        best = hn::IfThenElse(wins, pixels[i], best);
        index = hn::IfThenElse(wins, hn::Add(first, hn::Set(d, static_cast<T>(steps[i]))), index);
      }
      hn::StoreU(best, d, output + x);
      if constexpr (sizeof(T) == 4)
        hn::StoreU(hn::ConvertTo(di, index), di, argmax + x);
      else
        hn::StoreU(hn::DemoteTo(di, index), di, argmax + x);
    });
}

template <class T>
void backward_pairs(std::int64_t h, std::int64_t w, const T* grad_output, const std::int32_t* argmax,
                    T* grad_input) {
  const Lanes<T> d;
  const hn::Rebind<std::int32_t, Lanes<T>> di;
  const std::int64_t out_w = w / 2;
  for (std::int64_t y = 0; y + 1 < h; y += 2, grad_output += out_w, argmax += out_w) {
    T *upper = grad_input + y * w, *lower = upper + w;
    for_windows<T>(out_w, [&](std::int64_t x) HWY_ATTR {
      const auto gradient = hn::LoadU(d, grad_output + x);
      hn::Vec<Lanes<T>> index;
      if constexpr (sizeof(T) == 4)
        index = hn::ConvertTo(d, hn::LoadU(di, argmax + x));
      else
        index = hn::PromoteTo(d, hn::LoadU(di, argmax + x));
      const auto step = hn::Sub(index, upper_left<T>(y, w, x));
      const auto share = [&](std::int64_t wanted) HWY_ATTR {
        return hn::IfThenElseZero(hn::Eq(step, hn::Set(d, static_cast<T>(wanted))), gradient);
      };
      hn::StoreInterleaved2(share(0), share(1), d, upper + 2 * x);
      hn::StoreInterleaved2(share(w), share(w + 1), d, lower + 2 * x);
    });
    if (w % 2 != 0) upper[w - 1] = lower[w - 1] = T(0);
  }
  if (h % 2 != 0) std::fill_n(grad_input + (h - 1) * w, w, T(0));
}

template <class T>
constexpr PairLoops<T> loops{forward_pairs<T>, backward_pairs<T>};

Tables<PairLoops> pair_loops() { return {&loops<float>, &loops<double>}; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kg::kernels::cpu {

HWY_EXPORT(pair_loops);

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

/// Rows are long enough for a vector, and indices exact as float.
bool are_pairs(const Pool2dProblem& p) {
  return p.k_h == 2 && p.k_w == 2 && p.stride_h == 2 && p.stride_w == 2 && p.padding_h == 0 &&
         p.padding_w == 0 && p.w >= 8 && p.h * p.w <= (std::int64_t{1} << 24);
}

template <class T>
void forward(const Pool2dProblem& p, Input<T> input_array, Output<T> output_array,
             Output<std::int32_t> argmax_array) {
  if (const auto blocks = blocks_to_pool(p, input_array)) {
    note_variant("blocks");
    return max_pool2d_forward(p, *blocks, output_array, argmax_array);
  }
  const T* input = input_array;
  T* output = output_array;
  std::int32_t* argmax = argmax_array;
  const bool pairs = are_pairs(p);
  note_variant(pairs ? simd_level() : "windows");
  const PairLoops<T>& loops = *HWY_DYNAMIC_DISPATCH(pair_loops)().of<T>();
  const std::int64_t out_plane = p.out_h() * p.out_w();
  parallel_for_ranges(p.planes, planes_per_task, [&](Range planes) {
    for (std::int64_t z = planes.begin; z < planes.end; ++z) {
      const T* image = input + z * p.h * p.w;
      if (pairs)
        loops.forward(p.h, p.w, image, output + z * out_plane, argmax + z * out_plane);
      else
        pool_windows(p, image, output + z * out_plane, argmax + z * out_plane);
    }
  });
}

template <class T>
void backward(const Pool2dProblem& p, Input<T>, Input<T>, Input<T> gradient_array,
              Input<std::int32_t> argmax_array, Output<T> grad_input_array) {
  if (const auto winners = argmax_array.template form<Winners<T>>()) {
    note_variant("blocks");
    return max_pool2d_backward(p, winners, gradient_array, grad_input_array);
  }
  const T* grad_output = gradient_array;
  const std::int32_t* argmax = argmax_array;
  T* grad_input = grad_input_array;
  const bool pairs = are_pairs(p);
  note_variant(pairs ? simd_level() : "windows");
  const PairLoops<T>& loops = *HWY_DYNAMIC_DISPATCH(pair_loops)().of<T>();
  const std::int64_t out_plane = p.out_h() * p.out_w();
  parallel_for_ranges(p.planes, planes_per_task, [&](Range planes) {
    for (std::int64_t z = planes.begin; z < planes.end; ++z) {
      T* image = grad_input + z * p.h * p.w;
      if (pairs) {
        loops.backward(p.h, p.w, grad_output + z * out_plane, argmax + z * out_plane, image);
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
#endif
