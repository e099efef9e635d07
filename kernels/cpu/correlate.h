// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "kernels/table.h"

/// The inner loops of every convolution, in SIMD. Both sums see an image as planes whose rows follow one
/// another, `pitch` apart, so that output pixel p = y * pitch + x finds the input of a tap at p plus a
/// constant: every load is contiguous and no im2col is needed. The pitch - width surplus pixels at the end of
/// each row are computed and dropped. Strides, padding, dilation and groups are the caller's business: they
/// only change where planes and taps lie.

namespace kg::kernels::cpu {

/// How many elements behind the last that `count` calls for may be read (their values do not matter, except
/// that accumulate_products() multiplies them by 0), and written by correlate().
inline constexpr std::int64_t correlate_slack = 128;

template <class T>
struct Correlation {
  const T* source;
  const std::int64_t* offsets;  ///< [taps] Where, from source, the input of output pixel 0 lies for each tap.
  std::int64_t taps;
  const T* weights;  ///< As pack_weights() leaves them.
  const T* bias;     ///< [channels] or null.
  std::int64_t channels, rows, width;
  std::int64_t pitch;  ///< At least width.
  T* output;           ///< [channels][rows][width], dense.
};

template <class T>
struct ProductSums {
  const T* source;  ///< [images], source_pitch apart.
  std::int64_t source_pitch;
  const std::int64_t* offsets;  ///< [taps]
  std::int64_t taps;
  const T* gradient;  ///< [images][channels][gradient_pitch]; 0 in surplus columns and from count on.
  std::int64_t gradient_pitch;  ///< A multiple of correlate_slack.
  std::int64_t channels, images, count;
  T* sums;  ///< [taps][channels]
};

/// Rows of one plane copied to another pitch.
template <class T>
struct RowCopy {
  const T* from;
  std::int64_t from_pitch;
  T* to;
  std::int64_t to_pitch;
  std::int64_t rows, width;
  std::int64_t gap = 0;  ///< Zeros to write before each row.
};

/// The weight of tap t for channel o: data[t * tap_stride + o * channel_stride].
template <class T>
struct WeightMatrix {
  const T* data;
  std::int64_t tap_stride, channel_stride, taps, channels;
};

template <class T>
struct ConvolutionLoops {
  /// Writes taps x channels weights in the order in which correlate() reads them. With many channels each
  /// tap's would otherwise lie on a page of its own: 512 channels of 7x7 ran at an eighth of the speed.
  void (*pack_weights)(const WeightMatrix<T>&, T* packed);
  /// output[o][y][x] = bias[o] + sum over t of weight(t, o) * source[offsets[t] + y * pitch + x].
  void (*correlate)(const Correlation<T>&);
  /// sums[t][o] += sum over images n and pixels p of gradient[n][o][p] * source[n][offsets[t] + p].
  void (*accumulate_products)(const ProductSums<T>&);
  /// to[r * to_pitch + gap + x] = from[r * from_pitch + x] for x < width, and 0 in the gap. Nothing else is
  /// read or written.
  void (*copy_rows)(const RowCopy<T>&);
};

/// The loops for the best instruction set that this processor has.
Tables<ConvolutionLoops> convolution_loops();

}  // namespace kg::kernels::cpu
