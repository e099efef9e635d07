// SPDX-License-Identifier: MIT
// Included once for every SIMD target, as Highway's own -inl.h headers are: hence no #pragma once.
#if defined(KG_KERNELS_CPU_FIRST_LANES) == defined(HWY_TARGET_TOGGLE)
#ifdef KG_KERNELS_CPU_FIRST_LANES
#undef KG_KERNELS_CPU_FIRST_LANES
#else
#define KG_KERNELS_CPU_FIRST_LANES
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {

#define KG_MASKS_MEMORY (HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2)

/// Loads the first `count` lanes, 0 in the others. hn::MaskedLoad wants aligned memory, and may read what is
/// masked, except where the instruction set masks memory accesses itself.
template <class D, class T>
HWY_INLINE hwy::HWY_NAMESPACE::Vec<D> load_first(D d, const T* from, std::int64_t count) {
  namespace hn = hwy::HWY_NAMESPACE;
#if KG_MASKS_MEMORY
  return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count)), d, from);
#else
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(T)] = {};
  for (std::int64_t i = 0; i < count; ++i) lanes[i] = from[i];
  return hn::Load(d, lanes);
#endif
}

/// Stores the first `count` lanes and leaves the memory behind them alone. hn::BlendedStore may read and
/// write it back, and behind a plane or an image lies what another thread is writing.
template <class D, class V, class T>
HWY_INLINE void store_first(V value, D d, T* to, std::int64_t count) {
  namespace hn = hwy::HWY_NAMESPACE;
#if KG_MASKS_MEMORY
  hn::BlendedStore(value, hn::FirstN(d, static_cast<std::size_t>(count)), d, to);
#else
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(T)];
  hn::Store(value, d, lanes);
  for (std::int64_t i = 0; i < count; ++i) to[i] = lanes[i];
#endif
}

#undef KG_MASKS_MEMORY

}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif
