// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "kernels/cpu/batch_norm_plane.h"
#include "kernels/pool2d_problem.h"
#include "kernels/table.h"

/// The inner loops over blocks of images, in SIMD. A block holds as many images as a vector has lanes:
/// element k of image i at [k][i]. Every lane is of use whatever the size of an image, a tap that reads
/// padding is left out, and no pixel is computed that is not wanted. Blocks are aligned to 64 bytes.

namespace kg::kernels::cpu {

/// A correlation of a block with stride and dilation 1.
template <class T>
struct BlockCorrelation {
  const T* input;  ///< [c_in][h][w][lanes]
  std::int64_t c_in, h, w, c_out, k_h, k_w;
  std::int64_t padding_h, padding_w;  ///< Less than k_h and k_w.
  const T* weights;                   ///< [c_in][k_h][k_w][c_out]
  const T* bias;                      ///< [c_out] or null.
  const Channel<T>* batch_norm;       ///< What is done to the sums before they are stored: [c_out] or null.
  T* output;                          ///< [c_out][out_h][out_w][lanes]

  std::int64_t out_h() const { return h + 2 * padding_h - k_h + 1; }
  std::int64_t out_w() const { return w + 2 * padding_w - k_w + 1; }
};

/// What a block adds to a weight gradient.
template <class T>
struct BlockProducts {
  const T* input;  ///< [c_in][out_h + k_h - 1][out_w + k_w - 1][lanes], with its padding.
  std::int64_t c_in, k_h, k_w;
  const T* gradient;  ///< [c_out][out_h][out_w][lanes]
  std::int64_t c_out, out_h, out_w;
  T* sums;  ///< [c_in][k_h][k_w][c_out][lanes]
};

inline constexpr std::int64_t mask_slack = 8;

template <class T>
struct BlockLoops {
  std::int64_t lanes;
  /// Images of `count` elements one behind the other -> a block, with zeros for the images that are missing.
  void (*to_block)(const T* images, std::int64_t present, std::int64_t count, T* block);
  /// And back, without those.
  void (*from_block)(const T* block, std::int64_t count, std::int64_t present, T* images);
  /// output[o][y][x] = bias[o] + sum over (c, i, j) of weights[c][i][j][o] * input[c][y - padding + i]...
  void (*correlate)(const BlockCorrelation<T>&);
  /// sums[c][i][j][o] += sum over pixels (y, x) of input[c][y + i][x + j] * gradient[o][y][x], lane by lane.
  void (*add_products)(const BlockProducts<T>&);
  /// totals[k] += sum of the lanes of vector k, which becomes 0.
  void (*add_up)(T* vectors, std::int64_t count, double* totals);
  /// sums[i] = sum of lane i over `count` vectors.
  void (*sum_lanes)(const T* vectors, std::int64_t count, double* sums);
  /// Bit i of vector k is set where its lane i is not 0: mask_bytes() bytes a vector.
  void (*to_mask)(const T* vectors, std::int64_t count, std::uint8_t* mask);
  /// y = x * (the bit is set ? scale : 0). Up to mask_slack bytes behind the mask may be read.
  void (*multiply_by_mask)(const T* x, const std::uint8_t* mask, T scale, std::int64_t count, T* y);
  /// One plane of max_pool2d: the largest of each window, and where in the window it is, counted in rows.
  void (*max_pool)(const Pool2dProblem&, const T* input, T* output, T* winners);
  /// grad_input += what the windows' gradients give to their winners.
  void (*max_pool_backward)(const Pool2dProblem&, const T* grad_output, const T* winners, T* grad_input);

  std::int64_t mask_bytes() const { return (lanes + 7) / 8; }
};

/// The loops for the best instruction set that this processor has.
Tables<BlockLoops> block_loops();

}  // namespace kg::kernels::cpu
