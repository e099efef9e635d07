// SPDX-License-Identifier: MIT
#include "kernels/cpu/max_pool2d_pairs.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/max_pool2d_pairs.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// At most 4 windows at once, which every row of fits() has: maps of this size are 4 to 14 windows wide.
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
HWY_INLINE void forward(const PoolPairs<T>& pairs, const T* input, T* output, std::int32_t* argmax) {
  const Lanes<T> d;
  const hn::Rebind<std::int32_t, Lanes<T>> di;
  const std::int64_t w = pairs.w, out_w = w / 2;
  for (std::int64_t y = 0; y + 1 < pairs.h; y += 2, output += out_w, argmax += out_w)
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
HWY_INLINE void backward(const PoolPairs<T>& pairs, const T* grad_output, const std::int32_t* argmax,
                         T* grad_input) {
  const Lanes<T> d;
  const hn::Rebind<std::int32_t, Lanes<T>> di;
  const std::int64_t w = pairs.w, out_w = w / 2;
  for (std::int64_t y = 0; y + 1 < pairs.h; y += 2, grad_output += out_w, argmax += out_w) {
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
  if (pairs.h % 2 != 0) std::fill_n(grad_input + (pairs.h - 1) * w, w, T(0));
}

void forward_float(const PoolPairs<float>& p, const float* x, float* y, std::int32_t* argmax) {
  forward(p, x, y, argmax);
}
void forward_double(const PoolPairs<double>& p, const double* x, double* y, std::int32_t* argmax) {
  forward(p, x, y, argmax);
}
void backward_float(const PoolPairs<float>& p, const float* grad, const std::int32_t* argmax, float* result) {
  backward(p, grad, argmax, result);
}
void backward_double(const PoolPairs<double>& p, const double* grad, const std::int32_t* argmax,
                     double* result) {
  backward(p, grad, argmax, result);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kg::kernels::cpu {

HWY_EXPORT(forward_float);
HWY_EXPORT(forward_double);
HWY_EXPORT(backward_float);
HWY_EXPORT(backward_double);

template <>
void PoolPairs<float>::forward(const float* input, float* output, std::int32_t* argmax) const {
  HWY_DYNAMIC_DISPATCH(forward_float)(*this, input, output, argmax);
}
template <>
void PoolPairs<double>::forward(const double* input, double* output, std::int32_t* argmax) const {
  HWY_DYNAMIC_DISPATCH(forward_double)(*this, input, output, argmax);
}
template <>
void PoolPairs<float>::backward(const float* grad_output, const std::int32_t* argmax,
                                float* grad_input) const {
  HWY_DYNAMIC_DISPATCH(backward_float)(*this, grad_output, argmax, grad_input);
}
template <>
void PoolPairs<double>::backward(const double* grad_output, const std::int32_t* argmax,
                                 double* grad_input) const {
  HWY_DYNAMIC_DISPATCH(backward_double)(*this, grad_output, argmax, grad_input);
}

}  // namespace kg::kernels::cpu
#endif
