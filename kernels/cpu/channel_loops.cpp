// SPDX-License-Identifier: MIT
#include "kernels/cpu/channel_loops.h"

#include <algorithm>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/channel_loops.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Lanes = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Lanes<T>>;
template <class T>
constexpr std::int64_t lanes = hn::MaxLanes(Lanes<T>());

/// AVX-512 has 32 registers, the others 16.
constexpr bool many_registers = HWY_TARGET == HWY_AVX3;
constexpr int max_vectors = many_registers ? 3 : 2;
/// As many rows of sums as leave registers for `vectors` operands and one more.
constexpr int rows_for(int vectors) { return ((many_registers ? 31 : 15) - vectors) / vectors; }

// As in correlate.cpp: a sanitizer's checks take the sums out of their registers.
#if HWY_IS_ASAN || HWY_IS_TSAN
#define KG_TILE HWY_NOINLINE
#else
#define KG_TILE HWY_INLINE
#endif

/// Calls f(std::integral_constant<int, n>) for 1 <= n <= Max.
template <int Max, class F>
HWY_INLINE void with_constant(std::int64_t n, const F& f) {
  if constexpr (Max > 1) {
    if (n < Max) return with_constant<Max - 1>(n, f);
  }
  f(std::integral_constant<int, Max>());
}

template <int Vectors, int Pixels, class T>
KG_TILE void correlate_tile(const ChannelCorrelation<T>& work, std::int64_t first) {
  const Lanes<T> d;
  Vector<T> sums[Pixels][Vectors];
  for (int p = 0; p < Pixels; ++p)
    for (int v = 0; v < Vectors; ++v)
      sums[p][v] = work.bias ? hn::LoadU(d, work.bias + v * lanes<T>) : hn::Zero(d);
  const T* weights = work.weights;
  const T* plane = work.input;
  for (std::int64_t c = 0; c < work.channels; c += lanes<T>, plane += work.plane * lanes<T>) {
    const std::int64_t present = std::min(work.channels - c, lanes<T>);
    for (std::int64_t t = 0; t < work.tap_count; ++t) {
      const T* pixels[Pixels];
      for (int p = 0; p < Pixels; ++p) pixels[p] = plane + (work.pixels[first + p] + work.taps[t]) * lanes<T>;
      for (std::int64_t i = 0; i < present; ++i) {
        Vector<T> weight[Vectors];
        for (int v = 0; v < Vectors; ++v) weight[v] = hn::LoadU(d, weights + (i * Vectors + v) * lanes<T>);
        for (int p = 0; p < Pixels; ++p) {
          const Vector<T> pixel = hn::Set(d, pixels[p][i]);
          for (int v = 0; v < Vectors; ++v) sums[p][v] = hn::MulAdd(pixel, weight[v], sums[p][v]);
        }
      }
      weights += lanes<T> * Vectors * lanes<T>;
    }
  }
  for (int p = 0; p < Pixels; ++p)
    for (int v = 0; v < Vectors; ++v)
      hn::Store(sums[p][v], d, work.output + (v * work.count + first + p) * lanes<T>);
}

template <int Vectors, class T>
HWY_NOINLINE void correlate_panel(const ChannelCorrelation<T>& work) {
  constexpr int most = rows_for(Vectors);
  const std::int64_t tiles = (work.count + most - 1) / most;
  std::int64_t pixel = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t end = work.count * (tile + 1) / tiles;
    with_constant<most>(end - pixel, [&](auto pixels) HWY_ATTR {
      correlate_tile<Vectors, decltype(pixels)::value>(work, pixel);
    });
    pixel = end;
  }
}

template <class T>
void correlate(const ChannelCorrelation<T>& work) {
  with_constant<max_vectors>(work.vectors,
                             [&](auto vectors) HWY_ATTR { correlate_panel<decltype(vectors)::value>(work); });
}

/// Products are summed in T over at most so many pixels, then in double.
constexpr std::int64_t pixels_per_sum = 512;

/// Input channels [first, first + Channels) of the vector by the panel, for one tap and the images of a
/// range.
template <int Vectors, int Channels, class T>
KG_TILE void products_tile(const ChannelProducts<T>& work, std::int64_t tap, std::int64_t first,
                           std::int64_t image, std::int64_t image_end, std::int64_t pixel,
                           std::int64_t pixel_end) {
  const Lanes<T> d;
  Vector<T> sums[Channels][Vectors];
  for (int c = 0; c < Channels; ++c)
    for (int v = 0; v < Vectors; ++v) sums[c][v] = hn::Zero(d);
  for (std::int64_t n = image; n < image_end; ++n) {
    const T* input = work.input + n * work.input_pitch + work.taps[tap] * lanes<T> + first;
    const T* gradient = work.gradient + n * work.gradient_pitch;
    for (std::int64_t p = pixel; p < pixel_end; ++p) {
      Vector<T> grad[Vectors];
      for (int v = 0; v < Vectors; ++v) grad[v] = hn::Load(d, gradient + (v * work.count + p) * lanes<T>);
      const T* from = input + work.pixels[p] * lanes<T>;
      for (int c = 0; c < Channels; ++c) {
        const Vector<T> x = hn::Set(d, from[c]);
        for (int v = 0; v < Vectors; ++v) sums[c][v] = hn::MulAdd(x, grad[v], sums[c][v]);
      }
    }
  }
  HWY_ALIGN T values[lanes<T>];
  double* to = work.sums + (tap * lanes<T> + first) * Vectors * lanes<T>;
  for (int c = 0; c < Channels; ++c)
    for (int v = 0; v < Vectors; ++v, to += lanes<T>) {
      hn::Store(sums[c][v], d, values);
      for (std::int64_t i = 0; i < lanes<T>; ++i) to[i] += static_cast<double>(values[i]);
    }
}

template <int Vectors, class T>
HWY_NOINLINE void products_of_panel(const ChannelProducts<T>& work) {
  constexpr int most = std::min<int>(std::min(rows_for(Vectors), 8), lanes<T>);
  const std::int64_t tiles = (lanes<T> + most - 1) / most;
  const auto add = [&](std::int64_t image, std::int64_t image_end, std::int64_t pixel,
                       std::int64_t pixel_end) HWY_ATTR {
    for (std::int64_t t = 0; t < work.tap_count; ++t)
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        const std::int64_t first = lanes<T> * tile / tiles, end = lanes<T> * (tile + 1) / tiles;
        with_constant<most>(end - first, [&](auto channels) HWY_ATTR {
          products_tile<Vectors, decltype(channels)::value>(work, t, first, image, image_end, pixel,
                                                            pixel_end);
        });
      }
  };
  if (work.count >= pixels_per_sum) {
    for (std::int64_t n = 0; n < work.images; ++n)
      for (std::int64_t p = 0; p < work.count; p += pixels_per_sum)
        add(n, n + 1, p, std::min(p + pixels_per_sum, work.count));
  } else {
    const std::int64_t images = std::max<std::int64_t>(pixels_per_sum / work.count, 1);
    for (std::int64_t n = 0; n < work.images; n += images)
      add(n, std::min(n + images, work.images), 0, work.count);
  }
}

template <class T>
void add_products(const ChannelProducts<T>& work) {
  with_constant<max_vectors>(
      work.vectors, [&](auto vectors) HWY_ATTR { products_of_panel<decltype(vectors)::value>(work); });
}

template <class T>
constexpr ChannelLoops<T> loops{lanes<T>, max_vectors, correlate<T>, add_products<T>};

Tables<ChannelLoops> tables_of_loops() { return {&loops<float>, &loops<double>}; }

}  // namespace
#undef KG_TILE
}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kg::kernels::cpu {

HWY_EXPORT(tables_of_loops);

Tables<ChannelLoops> channel_loops() { return HWY_DYNAMIC_DISPATCH(tables_of_loops)(); }

}  // namespace kg::kernels::cpu
#endif
