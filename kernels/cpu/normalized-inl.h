// SPDX-License-Identifier: MIT
// Included once for every SIMD target, as Highway's own -inl.h headers are: hence no #pragma once.
#if defined(KG_KERNELS_CPU_NORMALIZED) == defined(HWY_TARGET_TOGGLE)
#ifdef KG_KERNELS_CPU_NORMALIZED
#undef KG_KERNELS_CPU_NORMALIZED
#else
#define KG_KERNELS_CPU_NORMALIZED
#endif

#include <hwy/highway.h>

#include "kernels/cpu/batch_norm_plane.h"

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {

/// max(x, 0), where NaN stays NaN.
template <class V>
HWY_INLINE V relu_if(bool on, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::DFromV<V> d;
  return on ? hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x) : x;
}

/// The output of a channel's batch norm.
template <class T, class V>
HWY_INLINE V normalized(const Channel<T>& channel, V x) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::DFromV<V> d;
  const V value = relu_if(channel.relu_before, x);
  return relu_if(channel.relu_after, hn::MulAdd(value, hn::Set(d, channel.scale), hn::Set(d, channel.shift)));
}

}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif
