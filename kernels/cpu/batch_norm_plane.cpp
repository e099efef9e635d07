// SPDX-License-Identifier: MIT
#include "kernels/cpu/batch_norm_plane.h"

#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/batch_norm_plane.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/first_lanes-inl.h"
#include "kernels/cpu/normalized-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Lanes = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Lanes<T>>;

/// Calls f(vector offset, number of lanes that count) over [0, count). Lanes beyond the number must be masked
/// by the caller.
template <class T, class F>
HWY_INLINE void for_vectors(std::int64_t count, const F& f) {
  const std::int64_t lanes = hn::Lanes(Lanes<T>());
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) f(i, std::false_type());
  if (i < count) f(i, std::true_type());
}

/// Loads and stores that leave out the lanes from `count` on where `Tail`.
template <class T>
struct Span {
  std::int64_t count;
  template <class Tail>
  HWY_INLINE Vector<T> load(const T* from, std::int64_t i, Tail) const {
    const Lanes<T> d;
    if constexpr (Tail::value)
      return load_first(d, from + i, count - i);
    else
      return hn::LoadU(d, from + i);
  }
  template <class Tail>
  HWY_INLINE void store(Vector<T> value, T* to, std::int64_t i, Tail) const {
    const Lanes<T> d;
    if constexpr (Tail::value)
      store_first(value, d, to + i, count - i);
    else
      hn::StoreU(value, d, to + i);
  }
  template <class Tail>
  HWY_INLINE Vector<T> zero_beyond(Vector<T> value, std::int64_t i, Tail) const {
    const Lanes<T> d;
    if constexpr (Tail::value)
      return hn::IfThenElseZero(hn::FirstN(d, static_cast<std::size_t>(count - i)), value);
    return value;
  }
};

template <class T>
HWY_INLINE double total(Vector<T> sum) {
  return static_cast<double>(hn::GetLane(hn::SumOfLanes(Lanes<T>(), sum)));
}

template <class T>
Moments moments(const T* x, std::int64_t count, bool relu_before) {
  const Lanes<T> d;
  const Span<T> span{count};
  Vector<T> sum = hn::Zero(d), squares = hn::Zero(d);
  for_vectors<T>(count, [&](std::int64_t i, auto tail)
                            HWY_ATTR { sum = hn::Add(sum, relu_if(relu_before, span.load(x, i, tail))); });
  // Rounded, and so are the sum's own additions: the deviations from it do not add up to 0, and what they add
  // up to corrects both results (Chan, Golub & LeVeque, 1983).
  const T center = static_cast<T>(total<T>(sum) / static_cast<double>(count));
  Vector<T> deviations = hn::Zero(d);
  for_vectors<T>(count, [&](std::int64_t i, auto tail) HWY_ATTR {
    const Vector<T> deviation =
        span.zero_beyond(hn::Sub(relu_if(relu_before, span.load(x, i, tail)), hn::Set(d, center)), i, tail);
    deviations = hn::Add(deviations, deviation);
    squares = hn::MulAdd(deviation, deviation, squares);
  });
  const double all_deviations = total<T>(deviations), shift = all_deviations / static_cast<double>(count);
  // Where all values are equal, rounding could make the difference negative.
  const double difference = total<T>(squares) - all_deviations * shift;
  return {static_cast<double>(center) + shift, difference < 0 ? 0 : difference};
}

template <class T>
void normalize(const Channel<T>& channel, const T* x, std::int64_t count, T* y) {
  const Span<T> span{count};
  const Channel<T> constants = channel;  // y could be channel, for all that the compiler knows
  for_vectors<T>(count, [&](std::int64_t i, auto tail) HWY_ATTR {
    span.store(normalized(constants, span.load(x, i, tail)), y, i, tail);
  });
}

/// The gradient behind relu_after: 0 where the output was not above 0. NaN lets it pass, as everywhere.
template <class T>
HWY_INLINE Vector<T> behind_relu(const Channel<T>& channel, Vector<T> value, Vector<T> gradient) {
  const Lanes<T> d;
  if (!channel.relu_after) return gradient;
  const Vector<T> output = hn::MulAdd(value, hn::Set(d, channel.scale), hn::Set(d, channel.shift));
  return hn::IfThenZeroElse(hn::Le(output, hn::Zero(d)), gradient);
}

template <class T>
GradientSums gradient_sums(const Channel<T>& channel, const T* x, const T* grad_output, std::int64_t count) {
  const Lanes<T> d;
  const Span<T> span{count};
  const Vector<T> mean = hn::Set(d, channel.mean);
  Vector<T> plain = hn::Zero(d), centered = hn::Zero(d);
  for_vectors<T>(count, [&](std::int64_t i, auto tail) HWY_ATTR {
    const Vector<T> value = relu_if(channel.relu_before, span.load(x, i, tail));
    const Vector<T> gradient = behind_relu(channel, value, span.load(grad_output, i, tail));
    plain = hn::Add(plain, gradient);
    centered = hn::MulAdd(gradient, hn::Sub(value, mean), centered);
  });
  return {total<T>(plain), total<T>(centered) * static_cast<double>(channel.inv_std)};
}

template <class T>
void input_gradient(const Channel<T>& channel, T mean_plain, T mean_normalized, const T* x,
                    const T* grad_output, std::int64_t count, T* grad_input) {
  const Lanes<T> d;
  const Span<T> span{count};
  const Vector<T> mean = hn::Set(d, channel.mean), scale = hn::Set(d, channel.scale),
                  plain = hn::Set(d, mean_plain);
  const Vector<T> slope = hn::Set(d, channel.inv_std * mean_normalized);
  for_vectors<T>(count, [&](std::int64_t i, auto tail) HWY_ATTR {
    const Vector<T> input = span.load(x, i, tail);
    const Vector<T> value = relu_if(channel.relu_before, input);
    const Vector<T> gradient = hn::Sub(behind_relu(channel, value, span.load(grad_output, i, tail)), plain);
    const Vector<T> result = hn::Mul(scale, hn::NegMulAdd(hn::Sub(value, mean), slope, gradient));
    span.store(channel.relu_before ? hn::IfThenZeroElse(hn::Le(input, hn::Zero(d)), result) : result,
               grad_input, i, tail);
  });
}

template <class T>
constexpr PlaneLoops<T> loops{moments<T>, normalize<T>, gradient_sums<T>, input_gradient<T>};

Tables<PlaneLoops> tables_of_loops() { return {&loops<float>, &loops<double>}; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kg::kernels::cpu {

HWY_EXPORT(tables_of_loops);

Tables<PlaneLoops> plane_loops() { return HWY_DYNAMIC_DISPATCH(tables_of_loops)(); }

}  // namespace kg::kernels::cpu
#endif
