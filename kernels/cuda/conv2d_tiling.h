// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernels/conv2d.h"

/// How the tiled convolution (conv2d_tiled.cu) cuts a problem into blocks. Host code: plain numbers.
namespace kg::kernels::cuda {

/// Output channels, and pixels of a row, that a thread owns.
inline constexpr int conv2d_quad = 4, conv2d_pair = 2;
/// 9 warps: what 8 channels of 24x24 pixels take at 16 results a thread, or 16 channels at 32.
inline constexpr int conv2d_max_threads = 288;

/// A correlation of stride 1 between a source and a result, which both forward and the input gradient are:
/// the convolution that leads from the one to the other.
struct Correlation : Conv2dProblem {
  /// The weights are those of forward with in and out exchanged and taps in reverse order.
  bool flipped;

  /// By how many rows and columns the source of some results exceeds these.
  std::int64_t halo_h() const { return dilation_h * (k_h - 1); }
  std::int64_t halo_w() const { return dilation_w * (k_w - 1); }
};

inline Correlation forward_correlation(const Conv2dProblem& p) { return {p, false}; }

/// The padding is negative where forward's exceeds the kernel: then grad_output's border does not matter.
inline Correlation backward_input_correlation(const Conv2dProblem& p) {
  Correlation c{p, true};
  c.c_in = p.c_out, c.h = p.out_h(), c.w = p.out_w(), c.c_out = p.c_in;
  c.padding_h = c.halo_h() - p.padding_h, c.padding_w = c.halo_w() - p.padding_w;
  return c;
}

/// Weight (o, c, tap) of a correlation lies at first + o * out + c * in + tap * step.
struct WeightStrides {
  int first, out, in, step;
};

/// A correlation in 32 bits, and how it is cut into blocks: all that the kernel needs to know.
struct Tiling {
  std::int64_t n;
  int c_in, h, w, c_out, out_h, out_w, k_h, k_w, padding_h, padding_w, dilation_h, dilation_w;
  WeightStrides weight;
  /// What a block owns, counted in what a thread owns: quads of output channels, pairs of columns, and steps
  /// of `rows` rows.
  int images, quads, pairs, steps, rows;
  /// Blocks that share an image: cut by rows, and by output channels.
  int bands, channel_blocks;
  /// How many quads of the same pixels neighbouring threads own: 1 or 2.
  int neighbour_quads;
  /// The block's part of the source in shared memory, so many of its channels at a time, and the weights for
  /// it, in groups of 4 from one quad of output channels to the next.
  int channels, tile_rows, pitch, quad_pitch;

  int taps() const { return k_h * k_w; }
  int threads() const { return images * quads * pairs * steps; }
  std::int64_t blocks() const { return ceil_div(n, images) * bands * channel_blocks; }
  std::int64_t tile_size() const { return std::int64_t{images} * channels * tile_rows * pitch; }
  std::int64_t weights_size() const { return std::int64_t{quads} * quad_pitch * conv2d_quad; }
};

namespace detail {

/// Goals for the whole launch. An H100 has 132 multiprocessors, each of which can start 128 threads'
/// multiply-adds in a cycle: 16,896 of them. With fewer blocks or threads than about that many, part of it
/// has nothing to do.
inline constexpr std::int64_t enough_blocks = 128, enough_threads = 20000;
/// Blocks become smaller for the sake of their number, but no smaller than this.
inline constexpr int min_threads = 64;
/// What a launch can have of threads in z, where quads and images are.
inline constexpr int max_depth = 64;
/// All the shared memory that a block can have on the smallest of the processors, sm_75, less what aligning
/// two arrays may cost.
inline constexpr std::int64_t max_shared_bytes = 64 * 1024 - 2 * shared_alignment;
inline constexpr std::int64_t max_count = std::numeric_limits<std::int32_t>::max();

inline int narrow(std::int64_t value) { return static_cast<int>(value); }

/// A correlation as a Tiling without any cuts.
inline Tiling in_32_bits(const Correlation& c, int rows) {
  Tiling t{};
  t.n = c.n;
  t.c_in = narrow(c.c_in), t.h = narrow(c.h), t.w = narrow(c.w);
  t.c_out = narrow(c.c_out), t.out_h = narrow(c.out_h()), t.out_w = narrow(c.out_w());
  t.k_h = narrow(c.k_h), t.k_w = narrow(c.k_w);
  t.padding_h = narrow(c.padding_h), t.padding_w = narrow(c.padding_w);
  t.dilation_h = narrow(c.dilation_h), t.dilation_w = narrow(c.dilation_w);
  if (c.flipped)
    t.weight = {.first = t.taps() - 1, .out = t.taps(), .in = t.c_out * t.taps(), .step = -1};
  else
    t.weight = {.first = 0, .out = t.c_in * t.taps(), .in = t.taps(), .step = 1};
  t.images = t.bands = t.channel_blocks = 1;
  t.quads = narrow(ceil_div(c.c_out, conv2d_quad));
  t.pairs = narrow(ceil_div(c.out_w(), conv2d_pair));
  t.steps = narrow(ceil_div(c.out_h(), rows));
  t.rows = rows;
  return t;
}

/// Cuts images so that a block has not too many threads, and that there are blocks enough.
inline void cut_images(Tiling& t) {
  // All channels of few rows rather than few channels of all rows: each block loads all its rows' source.
  const int all_quads = t.quads, all_steps = t.steps;
  t.channel_blocks = narrow(ceil_div(all_quads, std::min(conv2d_max_threads / t.pairs, max_depth)));
  t.quads = narrow(ceil_div(all_quads, t.channel_blocks));
  const int threads_per_step = t.quads * t.pairs;
  const std::int64_t needed = ceil_div(all_steps, conv2d_max_threads / threads_per_step),
                     wanted = ceil_div(enough_blocks, t.n * t.channel_blocks),
                     sensible = ceil_div(all_steps, ceil_div(min_threads, threads_per_step));
  t.steps = narrow(ceil_div(all_steps, std::max(needed, std::min(wanted, sensible))));
  t.bands = narrow(ceil_div(all_steps, t.steps));
  t.neighbour_quads = t.quads % 2 == 0 ? 2 : 1;
}

/// The pitch of the tile, at least `least`, a multiple of `unit` (which is even). 16 threads with different
/// pixels load 8 bytes each at a time, from all 32 banks if no two of them meet: if a row of threads ends,
/// modulo the banks, where the next begins. Taken if it costs less than 8 numbers a row.
inline int free_of_conflicts(int least, int unit, const Tiling& t) {
  for (int pitch = least; pitch < least + 8; pitch += unit)
    if ((t.rows * pitch / conv2d_pair - t.pairs) % 16 == 0) return pitch;
  return least;
}

/// Lays out shared memory: all of the source's channels if they fit, or as many as do, in equal portions.
/// With images that are small, several share a block and its weights, as long as there are blocks enough.
inline bool fill_shared_memory(const Correlation& c, std::int64_t element_bytes, int pitch_unit, Tiling& t) {
  const std::int64_t least = ceil_div(t.pairs * conv2d_pair + c.halo_w(), pitch_unit) * pitch_unit;
  t.tile_rows = narrow(t.steps * t.rows + c.halo_h());
  t.pitch = free_of_conflicts(narrow(least), pitch_unit, t);
  const std::int64_t source_bytes = std::int64_t{t.tile_rows} * t.pitch * element_bytes,
                     quad_bytes = conv2d_quad * element_bytes, weight_bytes = t.quads * t.taps() * quad_bytes;
  // One group may be added to each quad's weights.
  const std::int64_t available = max_shared_bytes - t.quads * quad_bytes;
  const std::int64_t fitting = available / (source_bytes + weight_bytes);
  if (fitting == 0) return false;
  t.channels = narrow(ceil_div(t.c_in, ceil_div(t.c_in, fitting)));
  // Odd, so that neighbouring quads' weights are in different banks.
  t.quad_pitch = t.channels * t.taps() | 1;
  if (t.channels == t.c_in && t.bands * t.channel_blocks == 1)
    t.images = narrow(std::clamp<std::int64_t>(
        std::min({t.n / enough_blocks, (available / t.c_in - weight_bytes) / source_bytes,
                  max_count / std::max<std::int64_t>(c.c_in * c.h * c.w, 1)}),
        1, std::min(conv2d_max_threads / t.threads(), max_depth / t.quads)));
  return true;
}

}  // namespace detail

/// Rows that a thread owns, at most `most`: many for many multiply-adds a load, few for many threads.
inline int conv2d_rows_per_thread(const Correlation& c, int most) {
  const auto threads = [&](int rows) {
    return c.n * ceil_div(c.c_out, conv2d_quad) * ceil_div(c.out_h(), rows) *
           ceil_div(c.out_w(), conv2d_pair);
  };
  int rows = most;
  while (rows > 1 && threads(rows) < detail::enough_threads) rows /= 2;
  return rows;
}

/// The blocks for a correlation that is not empty, with `rows` rows a thread and a pitch that is a multiple
/// of `pitch_unit`. None if it is not one for the tiled kernel: if one channel of the source of a block's
/// rows does not fit into shared memory with its weights (a very large or dilated kernel), if a row has more
/// pairs than a block has threads, or if there is no channel at all.
inline std::optional<Tiling> conv2d_tiling(const Correlation& c, int rows, std::int64_t element_bytes,
                                           int pitch_unit) {
  using namespace detail;
  // Half of what 32 bits count: places a little beyond the end are computed, though not read.
  const bool countable =
      std::max({c.c_in * c.h * c.w, c.c_out * c.out_h() * c.out_w(), c.c_in * c.c_out * c.k_h * c.k_w,
                c.halo_h(), c.halo_w()}) <= max_count / 2;
  if (c.c_in == 0 || !countable || c.out_w() > conv2d_max_threads * conv2d_pair) return {};
  Tiling t = in_32_bits(c, rows);
  cut_images(t);
  if (!fill_shared_memory(c, element_bytes, pitch_unit, t)) return {};
  return t;
}

}  // namespace kg::kernels::cuda
