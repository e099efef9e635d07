// SPDX-License-Identifier: MIT
#include "kernels/cpu/correlate.h"

#include "kernels/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/correlate.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/first_lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Lanes = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Lanes<T>>;

/// Channels by vectors of pixels that one pass keeps in registers. AVX-512 has 32 registers: 24 sums, 3
/// vectors of pixels, a weight. The others have 16: 12 sums, 3 vectors of pixels, a weight.
constexpr int max_channels = HWY_TARGET == HWY_AVX3 ? 8 : 4;
constexpr int sums_in_registers = 3 * max_channels;
constexpr int max_vectors = 6;

constexpr int vectors_for(int channels) {
  return sums_in_registers / channels < max_vectors ? sums_in_registers / channels : max_vectors;
}

// Tiles keep their sums in registers. A sanitizer's checks take them out, and the compiler minutes over so
// many tiles in one function.
#if HWY_IS_ASAN || HWY_IS_TSAN
#define KG_TILE HWY_NOINLINE
#else
#define KG_TILE HWY_INLINE
#endif

/// Calls f(std::integral_constant<int, n>) for 1 <= n <= Max: turns a remainder into a template argument.
template <int Max, class F>
HWY_INLINE void with_constant(std::int64_t n, const F& f) {
  if constexpr (Max > 1) {
    if (n < Max) return with_constant<Max - 1>(n, f);
  }
  f(std::integral_constant<int, Max>());
}

/// Where computed pixels go: the vectors of a plane in order, with the surplus pixels squeezed out in
/// registers.
template <class T>
class Destination {
 public:
  explicit Destination(const Correlation<T>& work)
      : column_(hn::Iota(Lanes<T>(), T(0))),
        width_(hn::Set(Lanes<T>(), static_cast<T>(work.width))),
        pitch_(hn::Set(Lanes<T>(), static_cast<T>(work.pitch))),
        plane_(work.rows * work.width),
        dense_(work.width == work.pitch) {
    wrap_columns();
  }

  /// Writes a vector for each channel, `plane` apart, and goes on to the next.
  template <int Channels, int Vectors>
  HWY_INLINE void write(const Vector<T> (&sums)[Channels][Vectors], int v, T* output) {
    const Lanes<T> d;
    const std::int64_t lanes = hn::Lanes(d);
    const auto wanted = hn::Lt(column_, width_);
    // A whole vector writes rubbish behind its wanted pixels, which the next vector of the plane overwrites.
    const bool whole = position_ + lanes <= plane_;
    for (int o = 0; o < Channels; ++o) {
      const Vector<T> pixels = dense_ ? sums[o][v] : hn::Compress(sums[o][v], wanted);
      T* to = output + o * plane_ + position_;
      if (whole)
        hn::StoreU(pixels, d, to);
      else
        store_first(pixels, d, to, plane_ - position_);
    }
    position_ += dense_ ? lanes : static_cast<std::int64_t>(hn::CountTrue(d, wanted));
    // Not column_ + lanes first: near the end of the longest rows T cannot count so far.
    const auto step = hn::Set(d, static_cast<T>(lanes)), back = hn::Sub(pitch_, step);
    column_ = hn::IfThenElse(hn::Lt(column_, back), hn::Add(column_, step), hn::Sub(column_, back));
    wrap_columns();
  }

 private:
  HWY_INLINE void wrap_columns() {
    const Lanes<T> d;
    for (auto beyond = hn::Ge(column_, pitch_); !hn::AllFalse(d, beyond); beyond = hn::Ge(column_, pitch_))
      column_ = hn::IfThenElse(beyond, hn::Sub(column_, pitch_), column_);
  }

  Vector<T> column_, width_, pitch_;  // column numbers, as T so that their comparison masks T
  std::int64_t plane_, position_ = 0;
  bool dense_;
};

template <int Channels, int Vectors, class T>
KG_TILE void correlate_tile(const Correlation<T>& work, std::int64_t channel, std::int64_t pixel,
                            Destination<T>& destination) {
  const Lanes<T> d;
  const std::int64_t lanes = hn::Lanes(d);
  Vector<T> sums[Channels][Vectors];
  for (int o = 0; o < Channels; ++o)
    for (int v = 0; v < Vectors; ++v)
      sums[o][v] = work.bias ? hn::Set(d, work.bias[channel + o]) : hn::Zero(d);
  const T* source = work.source + pixel;
  for (std::int64_t t = 0; t < work.taps; ++t) {
    const T* weights = work.weights + channel * work.taps + t * Channels;
    const T* row = source + work.offsets[t];
    Vector<T> pixels[Vectors];
    for (int v = 0; v < Vectors; ++v) pixels[v] = hn::LoadU(d, row + v * lanes);
    for (int o = 0; o < Channels; ++o) {
      const Vector<T> weight = hn::Set(d, weights[o]);
      for (int v = 0; v < Vectors; ++v) sums[o][v] = hn::MulAdd(pixels[v], weight, sums[o][v]);
    }
  }
  for (int v = 0; v < Vectors; ++v)
    destination.write(sums, v, work.output + channel * work.rows * work.width);
}

template <int Channels, class T>
void correlate_channels(const Correlation<T>& work, std::int64_t channel) {
  const std::int64_t lanes = hn::Lanes(Lanes<T>());
  const std::int64_t count = (work.rows - 1) * work.pitch + work.width;
  constexpr int vectors = vectors_for(Channels);
  Destination<T> destination(work);
  // Tiles of equal size: a small one at the end would read a weight for few products.
  const std::int64_t all = ceil_div(count, lanes), tiles = ceil_div(all, std::int64_t{vectors});
  std::int64_t vector = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t end = all * (tile + 1) / tiles;
    with_constant<vectors>(end - vector, [&](auto in_tile) HWY_ATTR {
      correlate_tile<Channels, decltype(in_tile)::value>(work, channel, vector * lanes, destination);
    });
    vector = end;
  }
}

/// Calls f(channels as a constant, first channel) for blocks of Max channels, then of smaller powers of two.
template <int Max, class F>
HWY_INLINE void for_channel_blocks(std::int64_t channels, const F& f) {
  std::int64_t channel = 0;
  for (; channel + Max <= channels; channel += Max) f(std::integral_constant<int, Max>(), channel);
  if constexpr (Max > 4) {
    if (channel + 4 <= channels) f(std::integral_constant<int, 4>(), channel), channel += 4;
  }
  if (channel + 2 <= channels) f(std::integral_constant<int, 2>(), channel), channel += 2;
  if (channel < channels) f(std::integral_constant<int, 1>(), channel);
}

template <class T>
void pack_weights(const WeightMatrix<T>& weights, T* packed) {
  for_channel_blocks<max_channels>(weights.channels, [&](auto channels, std::int64_t channel) HWY_ATTR {
    for (std::int64_t t = 0; t < weights.taps; ++t)
      for (std::int64_t o = 0; o < channels; ++o)
        *packed++ = weights.data[t * weights.tap_stride + (channel + o) * weights.channel_stride];
  });
}

template <class T>
void correlate(const Correlation<T>& work) {
  for_channel_blocks<max_channels>(work.channels, [&](auto channels, std::int64_t channel) HWY_ATTR {
    correlate_channels<decltype(channels)::value>(work, channel);
  });
}

/// Taps by channels: the sums stay in registers over all pixels of all images, then are added up across
/// lanes.
template <int Channels, int Taps, class T>
KG_TILE void accumulate_tile(const ProductSums<T>& work, std::int64_t channel, std::int64_t tap) {
  const Lanes<T> d;
  const std::int64_t lanes = hn::Lanes(d);
  Vector<T> sums[Channels][Taps];
  for (int o = 0; o < Channels; ++o)
    for (int t = 0; t < Taps; ++t) sums[o][t] = hn::Zero(d);
  for (std::int64_t n = 0; n < work.images; ++n) {
    const T* gradient = work.gradient + (n * work.channels + channel) * work.gradient_pitch;
    const T* rows[Taps];
    for (int t = 0; t < Taps; ++t) rows[t] = work.source + n * work.source_pitch + work.offsets[tap + t];
    for (std::int64_t p = 0; p < work.count; p += lanes) {
      Vector<T> pixels[Taps];
      for (int t = 0; t < Taps; ++t) pixels[t] = hn::LoadU(d, rows[t] + p);
      for (int o = 0; o < Channels; ++o) {
        const Vector<T> grad = hn::Load(d, gradient + o * work.gradient_pitch + p);
        for (int t = 0; t < Taps; ++t) sums[o][t] = hn::MulAdd(pixels[t], grad, sums[o][t]);
      }
    }
  }
  for (int t = 0; t < Taps; ++t)
    for (int o = 0; o < Channels; ++o)
      work.sums[(tap + t) * work.channels + channel + o] += hn::GetLane(hn::SumOfLanes(d, sums[o][t]));
}

template <int Channels, class T>
void accumulate_channels(const ProductSums<T>& work, std::int64_t channel) {
  constexpr int taps = vectors_for(Channels);
  std::int64_t tap = 0;
  for (; tap + taps <= work.taps; tap += taps) accumulate_tile<Channels, taps>(work, channel, tap);
  if (tap < work.taps)
    with_constant<taps>(work.taps - tap, [&](auto rest) HWY_ATTR {
      accumulate_tile<Channels, decltype(rest)::value>(work, channel, tap);
    });
}

template <class T>
void accumulate_products(const ProductSums<T>& work) {
  for_channel_blocks<4>(work.channels, [&](auto channels, std::int64_t channel) HWY_ATTR {
    accumulate_channels<decltype(channels)::value>(work, channel);
  });
}

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

template <class T>
void copy_rows(const RowCopy<T>& work) {
  copy_with_at_most<64 / sizeof(T)>(work);
}

template <class T>
constexpr ConvolutionLoops<T> loops{pack_weights<T>, correlate<T>, accumulate_products<T>, copy_rows<T>};

Tables<ConvolutionLoops> tables_of_loops() { return {&loops<float>, &loops<double>}; }

}  // namespace
#undef KG_TILE
}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kg::kernels::cpu {

HWY_EXPORT(tables_of_loops);

Tables<ConvolutionLoops> convolution_loops() { return HWY_DYNAMIC_DISPATCH(tables_of_loops)(); }

}  // namespace kg::kernels::cpu
#endif
