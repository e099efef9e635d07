// Included once for every SIMD target, as Highway's own -inl.h headers are: hence no #pragma once.
#if defined(KG_KERNELS_CPU_STORE_FIRST) == defined(HWY_TARGET_TOGGLE)
#ifdef KG_KERNELS_CPU_STORE_FIRST
#undef KG_KERNELS_CPU_STORE_FIRST
#else
#define KG_KERNELS_CPU_STORE_FIRST
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {

/// Stores the first `count` lanes and leaves the memory behind them alone. hn::BlendedStore may read and
/// write it back, and behind a plane or an image lies what another thread is writing.
template <class D, class V, class T>
HWY_INLINE void store_first(V value, D d, T* to, std::int64_t count) {
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(T)];
  hwy::HWY_NAMESPACE::Store(value, d, lanes);
  for (std::int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif
