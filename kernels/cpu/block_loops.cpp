// SPDX-License-Identifier: MIT
#include "kernels/cpu/block_loops.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/pool2d_window.h"
#include "kernels/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/block_loops.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

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
template <class T>
constexpr std::int64_t lanes = hn::MaxLanes(Lanes<T>());

/// AVX-512 has 32 registers, the others 16: tiles are chosen to fill them.
constexpr bool many_registers = HWY_TARGET == HWY_AVX3;

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

// ---------------------------------------------------------------- layout

/// Elements of an image that fill 16 bytes, the part of a vector that shuffles are cheap in.
template <class T>
constexpr std::int64_t quarter = HWY_TARGET == HWY_SCALAR ? 1 : 16 / sizeof(T);

/// Transposes the quarter x quarter elements in each 16 bytes of as many vectors.
#if HWY_TARGET == HWY_SCALAR
template <class V>
HWY_INLINE void transpose_quarters(V (&)[1]) {}
#else
HWY_INLINE void transpose_quarters(Vector<float> (&v)[4]) {
  const Lanes<float> d;
  const hn::RepartitionToWide<Lanes<float>> wide;
  const auto low = [&](auto a, auto b) HWY_ATTR { return hn::BitCast(wide, hn::InterleaveLower(d, a, b)); };
  const auto high = [&](auto a, auto b) HWY_ATTR { return hn::BitCast(wide, hn::InterleaveUpper(d, a, b)); };
  const auto a = low(v[0], v[1]), b = high(v[0], v[1]), c = low(v[2], v[3]), e = high(v[2], v[3]);
  v[0] = hn::BitCast(d, hn::InterleaveLower(wide, a, c));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(wide, a, c));
  v[2] = hn::BitCast(d, hn::InterleaveLower(wide, b, e));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(wide, b, e));
}
HWY_INLINE void transpose_quarters(Vector<double> (&v)[2]) {
  const Lanes<double> d;
  const auto low = hn::InterleaveLower(d, v[0], v[1]);
  v[1] = hn::InterleaveUpper(d, v[0], v[1]);
  v[0] = low;
}
#endif

/// Where the quarter of image i lies among the vectors that transpose_quarters() takes.
template <class T>
std::int64_t place(std::int64_t i) {
  return i % quarter<T> * lanes<T> + i / quarter<T> * quarter<T>;
}

template <class T>
void to_block(const T* images, std::int64_t present, std::int64_t count, T* block) {
  const Lanes<T> d;
  constexpr std::int64_t step = quarter<T>;
  HWY_ALIGN T gathered[step * lanes<T>] = {};
  std::int64_t k = 0;
  for (; k + step <= count; k += step) {
    for (std::int64_t i = 0; i < present; ++i)
      std::memcpy(gathered + place<T>(i), images + i * count + k, step * sizeof(T));
    Vector<T> v[step];
    for (std::int64_t q = 0; q < step; ++q) v[q] = hn::Load(d, gathered + q * lanes<T>);
    transpose_quarters(v);
    for (std::int64_t q = 0; q < step; ++q) hn::Store(v[q], d, block + (k + q) * lanes<T>);
  }
  for (; k < count; ++k)
    for (std::int64_t i = 0; i < lanes<T>; ++i)
      block[k * lanes<T> + i] = i < present ? images[i * count + k] : T(0);
}

template <class T>
void from_block(const T* block, std::int64_t count, std::int64_t present, T* images) {
  const Lanes<T> d;
  constexpr std::int64_t step = quarter<T>;
  HWY_ALIGN T scattered[step * lanes<T>];
  std::int64_t k = 0;
  for (; k + step <= count; k += step) {
    Vector<T> v[step];
    for (std::int64_t q = 0; q < step; ++q) v[q] = hn::Load(d, block + (k + q) * lanes<T>);
    transpose_quarters(v);
    for (std::int64_t q = 0; q < step; ++q) hn::Store(v[q], d, scattered + q * lanes<T>);
    for (std::int64_t i = 0; i < present; ++i)
      std::memcpy(images + i * count + k, scattered + place<T>(i), step * sizeof(T));
  }
  for (; k < count; ++k)
    for (std::int64_t i = 0; i < present; ++i) images[i * count + k] = block[k * lanes<T> + i];
}

// ---------------------------------------------------------------- correlation

/// The taps that do not read padding: rows and columns of the kernel.
struct Taps {
  std::int64_t top, bottom, left, right;
};

/// Pixels of the result in a row or a column, `step` elements apart in the input and `out_step` in the
/// output. `from` is where the first reads its first tap, be that padding.
template <class T>
struct Run {
  const T* from;
  std::int64_t step;
  T* to;
  std::int64_t out_step, count;
  Taps taps;
};

constexpr int max_channels = many_registers ? 8 : 4;

/// As many pixels, six at most, as leave registers for themselves and a weight beside their sums.
constexpr int pixels_for(int channels) {
  const int fitting = ((many_registers ? 32 : 16) - 1) / (channels + 1);
  return fitting < 6 ? fitting : 6;
}

/// Channels by pixels in registers. All three taps of a row at once where KernelWidth is 3; else it is 0.
template <int Channels, int Pixels, int KernelWidth, class T>
KG_TILE void correlate_tile(const BlockCorrelation<T>& work, const Run<T>& run, std::int64_t pixel,
                            std::int64_t channel) {
  const Lanes<T> d;
  Vector<T> sums[Channels][Pixels];
  for (int o = 0; o < Channels; ++o)
    for (int p = 0; p < Pixels; ++p)
      sums[o][p] = work.bias ? hn::Set(d, work.bias[channel + o]) : hn::Zero(d);
  const T* from = run.from + pixel * run.step;
  const auto add_tap = [&](std::int64_t c, std::int64_t i, std::int64_t j) HWY_ATTR {
    const T* x = from + ((c * work.h + i) * work.w + j) * lanes<T>;
    const T* weights = work.weights + ((c * work.k_h + i) * work.k_w + j) * work.c_out + channel;
    Vector<T> pixels[Pixels];
    for (int p = 0; p < Pixels; ++p) pixels[p] = hn::Load(d, x + p * run.step);
    for (int o = 0; o < Channels; ++o) {
      const Vector<T> weight = hn::Set(d, weights[o]);
      for (int p = 0; p < Pixels; ++p) sums[o][p] = hn::MulAdd(pixels[p], weight, sums[o][p]);
    }
  };
  for (std::int64_t c = 0; c < work.c_in; ++c)
    for (std::int64_t i = run.taps.top; i < run.taps.bottom; ++i)
      if constexpr (KernelWidth == 3) {
        add_tap(c, i, 0), add_tap(c, i, 1), add_tap(c, i, 2);
      } else {
        for (std::int64_t j = run.taps.left; j < run.taps.right; ++j) add_tap(c, i, j);
      }
  if (work.batch_norm)
    for (int o = 0; o < Channels; ++o)
      for (int p = 0; p < Pixels; ++p) sums[o][p] = normalized(work.batch_norm[channel + o], sums[o][p]);
  const std::int64_t out_plane = work.out_h() * work.out_w() * lanes<T>;
  T* to = run.to + channel * out_plane + pixel * run.out_step;
  for (int o = 0; o < Channels; ++o)
    for (int p = 0; p < Pixels; ++p) hn::Store(sums[o][p], d, to + o * out_plane + p * run.out_step);
}

template <int Channels, int Pixels, int KernelWidth, class T>
HWY_NOINLINE void correlate_run(const BlockCorrelation<T>& work, const Run<T>& run, std::int64_t channel) {
  const std::int64_t out_plane = work.out_h() * work.out_w() * lanes<T>;
  std::int64_t pixel = 0;
  for (; pixel + Pixels <= run.count; pixel += Pixels) {
    // The result comes from a far cache, which a store alone would wait for.
    const T* next = run.to + channel * out_plane + (pixel + Pixels) * run.out_step;
    for (int o = 0; o < Channels; ++o)
      for (int p = 0; p < Pixels; ++p) __builtin_prefetch(next + o * out_plane + p * run.out_step, 1);
    correlate_tile<Channels, Pixels, KernelWidth>(work, run, pixel, channel);
  }
  const auto rest = [&](auto pixels) HWY_ATTR {
    constexpr int n = decltype(pixels)::value;
    if constexpr (n < Pixels)
      for (; pixel + n <= run.count; pixel += n)
        correlate_tile<Channels, n, KernelWidth>(work, run, pixel, channel);
  };
  rest(std::integral_constant<int, 3>());
  rest(std::integral_constant<int, 2>());
  rest(std::integral_constant<int, 1>());
}

/// All pixels of so many channels of the result: runs along the rows, and down the columns whose kernel is
/// cut off on the left or right.
template <int Channels, class T>
void correlate_channels(const BlockCorrelation<T>& work, std::int64_t channel) {
  constexpr int pixels = pixels_for(Channels);
  const std::int64_t out_h = work.out_h(), out_w = work.out_w();
  const auto run = [&](std::int64_t y, std::int64_t x, bool down, std::int64_t count, Taps taps) HWY_ATTR {
    if (count <= 0) return;
    const Run<T> pixels_in_line{
        .from = work.input + ((y - work.padding_h) * work.w + x - work.padding_w) * lanes<T>,
        .step = (down ? work.w : 1) * lanes<T>,
        .to = work.output + (y * out_w + x) * lanes<T>,
        .out_step = (down ? out_w : 1) * lanes<T>,
        .count = count,
        .taps = taps};
    if (work.k_w == 3 && taps.left == 0 && taps.right == 3)
      correlate_run<Channels, pixels, 3>(work, pixels_in_line, channel);
    else
      correlate_run<Channels, pixels, 0>(work, pixels_in_line, channel);
  };
  const auto first_tap = [](std::int64_t padding, std::int64_t at) {
    return std::max<std::int64_t>(0, padding - at);
  };
  const auto last_tap = [](std::int64_t kernel, std::int64_t in, std::int64_t padding, std::int64_t at) {
    return std::min(kernel, in + padding - at);
  };
  // Outputs [left, right) and [top, bottom) read no padding.
  const std::int64_t left = std::min(work.padding_w, out_w), right = std::max(left, out_w - work.padding_w);
  const std::int64_t top = std::min(work.padding_h, out_h), bottom = std::max(top, out_h - work.padding_h);
  const auto is_cut = [](std::int64_t at, std::int64_t begin, std::int64_t end) {
    return at < begin || at >= end;
  };
  for (std::int64_t y = 0; y < out_h; ++y) {
    Taps taps{first_tap(work.padding_h, y), last_tap(work.k_h, work.h, work.padding_h, y), 0, work.k_w};
    run(y, left, false, right - left, taps);
    if (!is_cut(y, top, bottom)) continue;
    for (std::int64_t x = 0; x < out_w; ++x) {
      if (!is_cut(x, left, right)) continue;
      taps.left = first_tap(work.padding_w, x);
      taps.right = last_tap(work.k_w, work.w, work.padding_w, x);
      run(y, x, false, 1, taps);
    }
  }
  for (std::int64_t x = 0; x < out_w; ++x)
    if (is_cut(x, left, right))
      run(top, x, true, bottom - top,
          {0, work.k_h, first_tap(work.padding_w, x), last_tap(work.k_w, work.w, work.padding_w, x)});
}

template <class T>
void correlate(const BlockCorrelation<T>& given) {
  BlockCorrelation<T> work = given;
  if (work.k_h == 1 && work.k_w == 1) work.w *= work.h, work.h = 1;  // no row ends: longer runs
  // Tiles of equal size: a small one at the end would read a pixel for few products.
  const std::int64_t tiles = ceil_div(work.c_out, max_channels);
  std::int64_t channel = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t end = work.c_out * (tile + 1) / tiles;
    with_constant<max_channels>(end - channel, [&](auto channels) HWY_ATTR {
      correlate_channels<decltype(channels)::value>(work, channel);
    });
    channel = end;
  }
}

// ---------------------------------------------------------------- weight gradient

/// Channels by taps in registers, over some rows.
template <int Channels, int TapCount, class T>
KG_TILE void add_tile(const BlockProducts<T>& work, const std::int64_t (&offsets)[TapCount], std::int64_t tap,
                      std::int64_t channel, std::int64_t row, std::int64_t rows) {
  const Lanes<T> d;
  const std::int64_t in_pitch = (work.out_w + work.k_w - 1) * lanes<T>, pitch = work.out_w * lanes<T>,
                     plane = work.out_h * pitch;
  T* memory = work.sums + (tap * work.c_out + channel) * lanes<T>;
  Vector<T> sums[Channels][TapCount];
  for (int o = 0; o < Channels; ++o)
    for (int t = 0; t < TapCount; ++t) sums[o][t] = hn::Load(d, memory + (t * work.c_out + o) * lanes<T>);
  for (std::int64_t r = row; r < row + rows; ++r) {
    const T* gradient = work.gradient + channel * plane + r * pitch;
    const T* from[TapCount];
    for (int t = 0; t < TapCount; ++t) from[t] = work.input + offsets[t] + r * in_pitch;
    for (std::int64_t p = 0; p < pitch; p += lanes<T>) {
      Vector<T> pixels[TapCount];
      for (int t = 0; t < TapCount; ++t) pixels[t] = hn::Load(d, from[t] + p);
      for (int o = 0; o < Channels; ++o) {
        const Vector<T> grad = hn::Load(d, gradient + o * plane + p);
        for (int t = 0; t < TapCount; ++t) sums[o][t] = hn::MulAdd(pixels[t], grad, sums[o][t]);
      }
    }
  }
  for (int o = 0; o < Channels; ++o)
    for (int t = 0; t < TapCount; ++t) hn::Store(sums[o][t], d, memory + (t * work.c_out + o) * lanes<T>);
}

template <int Channels, int TapCount, class T>
HWY_NOINLINE void add_taps(const BlockProducts<T>& work, std::int64_t tap, std::int64_t channel,
                           std::int64_t row, std::int64_t rows) {
  const std::int64_t in_w = work.out_w + work.k_w - 1, in_h = work.out_h + work.k_h - 1;
  std::int64_t offsets[TapCount];
  for (int t = 0; t < TapCount; ++t) {
    const std::int64_t j = (tap + t) % work.k_w, i = (tap + t) / work.k_w % work.k_h,
                       c = (tap + t) / work.k_w / work.k_h;
    offsets[t] = ((c * in_h + i) * in_w + j) * lanes<T>;
  }
  add_tile<Channels, TapCount>(work, offsets, tap, channel, row, rows);
}

/// As many taps, seven at most, as leave registers for their pixels and a gradient beside the sums.
constexpr int taps_for(int channels) {
  const int fitting = ((many_registers ? 32 : 16) - 1) / (channels + 1);
  return fitting < 7 ? fitting : 7;
}

template <int Channels, class T>
void add_channels(const BlockProducts<T>& work, std::int64_t channel, std::int64_t row, std::int64_t rows) {
  constexpr int max_taps = taps_for(Channels);
  const std::int64_t taps = work.c_in * work.k_h * work.k_w, tiles = ceil_div(taps, max_taps);
  std::int64_t tap = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    const std::int64_t end = taps * (tile + 1) / tiles;
    with_constant<max_taps>(end - tap, [&](auto tap_count) HWY_ATTR {
      add_taps<Channels, decltype(tap_count)::value>(work, tap, channel, row, rows);
    });
    tap = end;
  }
}

template <class T>
void add_products(const BlockProducts<T>& work) {
  constexpr int max_tile = many_registers ? 5 : 4;
  // As many rows at a time as leave the gradient of a tile in the first-level cache.
  constexpr std::int64_t cached = 20 << 10;
  const std::int64_t row_bytes = max_tile * work.out_w * lanes<T> * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t rows = std::clamp<std::int64_t>(cached / row_bytes, 1, work.out_h);
  const std::int64_t tiles = ceil_div(work.c_out, max_tile);
  for (std::int64_t row = 0; row < work.out_h; row += rows) {
    std::int64_t channel = 0;
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t end = work.c_out * (tile + 1) / tiles;
      with_constant<max_tile>(end - channel, [&](auto channels) HWY_ATTR {
        add_channels<decltype(channels)::value>(work, channel, row, std::min(rows, work.out_h - row));
      });
      channel = end;
    }
  }
}

template <class T>
void add_up(T* vectors, std::int64_t count, double* totals) {
  const Lanes<T> d;
  for (std::int64_t k = 0; k < count; ++k) {
    T* vector = vectors + k * lanes<T>;
    totals[k] += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, hn::Load(d, vector))));
    hn::Store(hn::Zero(d), d, vector);
  }
}

template <class T>
void sum_lanes(const T* vectors, std::int64_t count, double* sums) {
  const Lanes<T> d;
  // Pieces that T can sum without losing much, those in double.
  constexpr std::int64_t piece = 64;
  std::fill_n(sums, lanes<T>, 0.0);
  for (std::int64_t k = 0; k < count; k += piece) {
    Vector<T> sum = hn::Zero(d);
    for (std::int64_t j = k; j < std::min(k + piece, count); ++j)
      sum = hn::Add(sum, hn::Load(d, vectors + j * lanes<T>));
    HWY_ALIGN T by_lane[lanes<T>];
    hn::Store(sum, d, by_lane);
    for (std::int64_t i = 0; i < lanes<T>; ++i) sums[i] += static_cast<double>(by_lane[i]);
  }
}

// ---------------------------------------------------------------- dropout

template <class T>
void to_mask(const T* vectors, std::int64_t count, std::uint8_t* mask) {
  const Lanes<T> d;
  for (std::int64_t k = 0; k < count; ++k) {
    // It writes 8 bytes, whatever the number of lanes.
    std::uint8_t bits[8];
    hn::StoreMaskBits(d, hn::Ne(hn::Load(d, vectors + k * lanes<T>), hn::Zero(d)), bits);
    std::memcpy(mask + k * ((lanes<T> + 7) / 8), bits, (lanes<T> + 7) / 8);
  }
}

template <class T>
void multiply_by_mask(const T* x, const std::uint8_t* mask, T scale, std::int64_t count, T* y) {
  const Lanes<T> d;
  const Vector<T> kept = hn::Set(d, scale);
  for (std::int64_t k = 0; k < count; ++k) {
    const Vector<T> factor = hn::IfThenElseZero(hn::LoadMaskBits(d, mask + k * ((lanes<T> + 7) / 8)), kept);
    hn::Store(hn::Mul(hn::Load(d, x + k * lanes<T>), factor), d, y + k * lanes<T>);
  }
}

// ---------------------------------------------------------------- max pooling

/// Calls f(index of the window, its rows, its columns) for all windows of a plane.
template <class F>
HWY_INLINE void for_windows(const Pool2dProblem& p, const F& f) {
  const std::int64_t out_w = p.out_w();
  for (std::int64_t y = 0; y < p.out_h(); ++y)
    for (std::int64_t x = 0; x < out_w; ++x) f(y * out_w + x, window_rows(p, y), window_columns(p, x));
}

/// Calls f(y, x, number) for the pixels of a window. Two by two, by far the most common, without loops: those
/// took most of the time.
template <class F>
HWY_INLINE void for_pixels(Window rows, Window columns, const F& f) {
  if (rows.end - rows.begin == 2 && columns.end - columns.begin == 2) {
    for (int k = 0; k < 4; ++k) f(rows.begin + k / 2, columns.begin + k % 2, k);
    return;
  }
  std::int64_t number = 0;
  for (std::int64_t y = rows.begin; y < rows.end; ++y)
    for (std::int64_t x = columns.begin; x < columns.end; ++x) f(y, x, number++);
}

template <class T>
void max_pool(const Pool2dProblem& p, const T* input, T* output, T* winners) {
  const Lanes<T> d;
  for_windows(p, [&](std::int64_t window, Window rows, Window columns) HWY_ATTR {
    const auto pixel = [&](std::int64_t y, std::int64_t x)
                           HWY_ATTR { return hn::Load(d, input + (y * p.w + x) * lanes<T>); };
    Vector<T> best = pixel(rows.begin, columns.begin), winner = hn::Zero(d);
    for_pixels(rows, columns, [&](std::int64_t y, std::int64_t x, std::int64_t number) HWY_ATTR {
      // The first NaN stays: nothing is greater than it, and it is not replaced by another.
      const Vector<T> other = pixel(y, x);
      const auto wins = hn::And(hn::Not(hn::Le(other, best)), hn::Eq(best, best));
      best = hn::IfThenElse(wins, other, best);
      winner = hn::IfThenElse(wins, hn::Set(d, static_cast<T>(number)), winner);
    });
    hn::Store(best, d, output + window * lanes<T>);
    hn::Store(winner, d, winners + window * lanes<T>);
  });
}

template <class T>
void max_pool_backward(const Pool2dProblem& p, const T* grad_output, const T* winners, T* grad_input) {
  const Lanes<T> d;
  for_windows(p, [&](std::int64_t window, Window rows, Window columns) HWY_ATTR {
    const Vector<T> gradient = hn::Load(d, grad_output + window * lanes<T>),
                    winner = hn::Load(d, winners + window * lanes<T>);
    for_pixels(rows, columns, [&](std::int64_t y, std::int64_t x, std::int64_t number) HWY_ATTR {
      T* to = grad_input + (y * p.w + x) * lanes<T>;
      const Vector<T> share =
          hn::IfThenElseZero(hn::Eq(winner, hn::Set(d, static_cast<T>(number))), gradient);
      hn::Store(hn::Add(hn::Load(d, to), share), d, to);
    });
  });
}

template <class T>
constexpr BlockLoops<T> loops{.lanes = lanes<T>,
                              .to_block = to_block<T>,
                              .from_block = from_block<T>,
                              .correlate = correlate<T>,
                              .add_products = add_products<T>,
                              .add_up = add_up<T>,
                              .sum_lanes = sum_lanes<T>,
                              .to_mask = to_mask<T>,
                              .multiply_by_mask = multiply_by_mask<T>,
                              .max_pool = max_pool<T>,
                              .max_pool_backward = max_pool_backward<T>};

Tables<BlockLoops> tables_of_loops() { return {&loops<float>, &loops<double>}; }

}  // namespace
#undef KG_TILE
}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kg::kernels::cpu {

HWY_EXPORT(tables_of_loops);

Tables<BlockLoops> block_loops() { return HWY_DYNAMIC_DISPATCH(tables_of_loops)(); }

}  // namespace kg::kernels::cpu
#endif
