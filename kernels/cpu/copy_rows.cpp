// SPDX-License-Identifier: MIT
#include "kernels/cpu/copy_rows.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/copy_rows.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

/// Copies in vectors of D, the last one flush with the end of the row, over part of the one before: rows of 7
/// to 28 elements take two or three moves, where a call of memcpy for each took a sixth of the training step.
template <class D, class T>
HWY_INLINE void copy_in_vectors(D d, const RowCopy<T>& work) {
  const std::int64_t lanes = hn::Lanes(d);
  for (std::int64_t r = 0; r < work.rows; ++r) {
    const T* from = work.from + r * work.from_pitch;
    T* to = work.to + r * work.to_pitch;
    for (std::int64_t x = 0; x < work.gap; ++x) to[x] = T(0);
    to += work.gap;
    for (std::int64_t x = 0; x + lanes < work.width; x += lanes)
      hn::StoreU(hn::LoadU(d, from + x), d, to + x);
    hn::StoreU(hn::LoadU(d, from + work.width - lanes), d, to + work.width - lanes);
  }
}

template <int Lanes, class T>
HWY_INLINE void copy_with_at_most(const RowCopy<T>& work) {
  const hn::CappedTag<T, Lanes> d;
  if (static_cast<std::int64_t>(hn::Lanes(d)) <= work.width) return copy_in_vectors(d, work);
  if constexpr (Lanes > 1) copy_with_at_most<Lanes / 2>(work);
}

void copy_floats(const RowCopy<float>& work) { copy_with_at_most<16>(work); }
void copy_doubles(const RowCopy<double>& work) { copy_with_at_most<8>(work); }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kg::kernels::cpu {

HWY_EXPORT(copy_floats);
HWY_EXPORT(copy_doubles);

template <>
void copy_rows(const RowCopy<float>& work) {
  HWY_DYNAMIC_DISPATCH(copy_floats)(work);
}
template <>
void copy_rows(const RowCopy<double>& work) {
  HWY_DYNAMIC_DISPATCH(copy_doubles)(work);
}

}  // namespace kg::kernels::cpu
#endif
