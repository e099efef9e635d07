// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "kernels/table.h"

/// The inner loops of convolutions with many channels, in SIMD, with channels in the lanes. `lanes` channels
/// of an image lie as a block [pixels][lanes] (to_block() of block_loops.h makes one of planes), aligned to
/// 64 bytes; an image is several. Output channels are computed in panels of some vectors: see
/// channel_panels().

namespace kg::kernels::cpu {

/// Vectors of output channels that are computed at once.
struct ChannelPanel {
  std::int64_t first, vectors;
};

template <class T>
struct ChannelCorrelation {
  const T* input;  ///< [ceil(channels / lanes)][plane][lanes]
  std::int64_t channels, plane;
  const std::int64_t* pixels;  ///< [count] For each output pixel, the input pixel at distance 0.
  std::int64_t count;
  const std::int64_t* taps;  ///< [tap_count] How far from there each tap reads.
  std::int64_t tap_count;
  std::int64_t vectors;  ///< Of the panel.
  const T* weights;      ///< [ceil(channels / lanes)][tap_count][lanes][vectors * lanes]
  const T* bias;         ///< [vectors * lanes] or null.
  T* output;             ///< [vectors][count][lanes]
};

template <class T>
struct ChannelProducts {
  const T* input;  ///< [images], input_pitch apart, of [plane][lanes]: one vector of input channels.
  std::int64_t input_pitch;
  const T* gradient;  ///< [images], gradient_pitch apart, of [vectors][count][lanes]
  std::int64_t gradient_pitch, images, vectors;
  const std::int64_t* pixels;  ///< [count] As above.
  std::int64_t count;
  const std::int64_t* taps;
  std::int64_t tap_count;
  double* sums;  ///< [tap_count][lanes][vectors * lanes]
};

template <class T>
struct ChannelLoops {
  std::int64_t lanes, max_vectors;
  /// output[o][p] = bias[o] + sum over (c, t) of weights[c][t][o] * input[c][pixels[p] + taps[t]].
  void (*correlate)(const ChannelCorrelation<T>&);
  /// sums[t][c][o] += sum over images and pixels of input[c][pixels[p] + taps[t]] * gradient[o][p].
  void (*add_products)(const ChannelProducts<T>&);

  /// The panels that so many channels are cut into, of equal size if possible.
  std::int64_t panels(std::int64_t channels) const {
    return (((channels + lanes - 1) / lanes) + max_vectors - 1) / max_vectors;
  }
  ChannelPanel panel(std::int64_t channels, std::int64_t index) const {
    const std::int64_t vectors = (channels + lanes - 1) / lanes, count = panels(channels);
    const std::int64_t first = vectors * index / count;
    return {first, vectors * (index + 1) / count - first};
  }
};

/// The loops for the best instruction set that this processor has.
Tables<ChannelLoops> channel_loops();

}  // namespace kg::kernels::cpu
