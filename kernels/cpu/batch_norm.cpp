// SPDX-License-Identifier: MIT
#include "kernels/batch_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/batch_norm_blocks.h"
#include "kernels/cpu/batch_norm_plane.h"
#include "kernels/cpu/conv2d_blocks.h"
#include "kernels/cpu/dropout.h"
#include "kernels/cpu/memory.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd_level.h"
#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

constexpr std::int64_t pieces_per_task = 64;

/// A stretch of one plane, which is the pixels of one channel of one image.
struct Piece {
  std::int64_t channel, first, count;
};

std::int64_t pieces_per_plane(const BatchNormProblem& p) {
  return std::max<std::int64_t>(ceil_div(p.plane, max_piece), 1);
}
std::int64_t piece_count(const BatchNormProblem& p) { return p.n * p.channels * pieces_per_plane(p); }

Piece piece_at(const BatchNormProblem& p, std::int64_t index) {
  const std::int64_t plane = index / pieces_per_plane(p), start = index % pieces_per_plane(p) * max_piece;
  return {.channel = plane % p.channels,
          .first = plane * p.plane + start,
          .count = std::min(max_piece, p.plane - start)};
}

/// Calls body(index, piece) for every piece, on all threads.
template <class Body>
void for_pieces(const BatchNormProblem& p, const Body& body) {
  parallel_for_ranges(piece_count(p), pieces_per_task, [&](Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) body(static_cast<std::size_t>(i), piece_at(p, i));
  });
}

/// The constants of every channel.
template <class T>
Array<Channel<T>> channels_of(const BatchNormProblem& p, const T* gamma, const T* beta, const T* mean,
                              const T* inv_std) {
  Array<Channel<T>> channels;
  for (std::int64_t c = 0; c < p.channels; ++c) {
    const T scale = (gamma ? gamma[c] : T(1)) * inv_std[c];
    channels.push_back({.relu_before = p.relu_before,
                        .relu_after = p.relu_after,
                        .mean = mean[c],
                        .inv_std = inv_std[c],
                        .scale = scale,
                        .shift = (beta ? beta[c] : T(0)) - mean[c] * scale});
  }
  return channels;
}

/// The input if it is in blocks.
template <class T>
std::shared_ptr<const Blocks<T>> blocked(const BatchNormProblem& p, Input<T> input) {
  const auto blocks = form_of(input, p.n, p.channels, p.plane);
  note_variant(blocks ? "blocks" : simd_level());
  return blocks;
}

template <class T>
void normalize(const BatchNormProblem& p, Array<Channel<T>> channels, Input<T> input,
               const std::shared_ptr<const Blocks<T>>& blocks, Output<T> output) {
  if (blocks) return output.keep(std::make_shared<Normalized<T>>(blocks, std::move(channels), p.dropout));
  const T* x = input;
  T* y = output;
  const PlaneLoops<T>& loops = *plane_loops().of<T>();
  for_pieces(p, [&](std::size_t, const Piece& piece) {
    T* result = y + piece.first;
    loops.normalize(channels[static_cast<std::size_t>(piece.channel)], x + piece.first, piece.count, result);
    if (p.dropout.p > 0) drop(p.dropout, piece.first, piece.count, result, result);
  });
}

template <class T>
Array<ChannelPiece> moments_of(const BatchNormProblem& p, const T* input) {
  const PlaneLoops<T>& loops = *plane_loops().of<T>();
  Array<ChannelPiece> pieces(static_cast<std::size_t>(piece_count(p)));
  for_pieces(p, [&](std::size_t i, const Piece& piece) {
    pieces[i] = {.channel = static_cast<std::size_t>(piece.channel),
                 .count = static_cast<double>(piece.count),
                 .moments = loops.moments(input + piece.first, piece.count, p.relu_before)};
  });
  return pieces;
}

/// The moments of every channel, from those of its pieces (Chan, Golub & LeVeque, 1979): no precision is lost
/// where the mean is far from 0.
Array<Moments> combined(const BatchNormProblem& p, const Array<ChannelPiece>& pieces) {
  const double count = static_cast<double>(p.n * p.plane);
  Array<Moments> channels(static_cast<std::size_t>(p.channels), Moments{0, 0});
  for (const ChannelPiece& piece : pieces)
    channels[piece.channel].mean += piece.moments.mean * (piece.count / count);
  for (const ChannelPiece& piece : pieces) {
    const double shift = piece.moments.mean - channels[piece.channel].mean;
    channels[piece.channel].squares += piece.moments.squares + piece.count * shift * shift;
  }
  return channels;
}

template <class T>
void forward_training(const BatchNormProblem& p, Input<T> input, const T* gamma, const T* beta,
                      double momentum, T* running_mean, T* running_var, std::int64_t* num_batches_tracked,
                      T* mean, T* inv_std, Output<T> output) {
  const auto form = blocked(p, input);
  const auto [blocks, pieces] = form ? with_moments(form, p.channels, p.relu_before)
                                     : WithMoments<T>{.input = nullptr, .pieces = moments_of<T>(p, input)};
  const Array<Moments> channels = combined(p, pieces);
  const double count = static_cast<double>(p.n * p.plane);
  for (std::size_t c = 0; c < channels.size(); ++c) {
    mean[c] = static_cast<T>(channels[c].mean);
    inv_std[c] = static_cast<T>(1 / std::sqrt(channels[c].squares / count + p.epsilon));
    if (!running_mean) continue;
    const auto move = [momentum](T& running, double batch) {
      running = static_cast<T>((1 - momentum) * static_cast<double>(running) + momentum * batch);
    };
    move(running_mean[c], channels[c].mean);
    move(running_var[c], channels[c].squares / (count - 1));
  }
  if (num_batches_tracked) ++*num_batches_tracked;
  normalize<T>(p, channels_of(p, gamma, beta, mean, inv_std), input, blocks, output);
}

template <class T>
void forward_inference(const BatchNormProblem& p, Input<T> input, const T* gamma, const T* beta,
                       const T* mean, const T* var, T* inv_std, Output<T> output) {
  for (std::int64_t c = 0; c < p.channels; ++c)
    inv_std[c] = static_cast<T>(1 / std::sqrt(static_cast<double>(var[c]) + p.epsilon));
  const Array<Channel<T>> channels = channels_of(p, gamma, beta, mean, inv_std);
  auto blocks = blocked(p, input);
  if (blocks && p.dropout.p == 0)
    if (auto folded = with_batch_norm(blocks, channels)) return output.keep(folded);
  if (blocks && blocks->depth() == max_depth) blocks = stored(blocks);
  normalize<T>(p, channels, input, blocks, output);
}

template <class T>
void backward(const BatchNormProblem& p, bool batch_statistics, Input<T> input_array, Input<T> gradient_array,
              const T* gamma, const T* beta, const T* mean, const T* inv_std, Output<T> grad_input_array,
              T* grad_gamma, T* grad_beta) {
  const Array<Channel<T>> channels = channels_of(p, gamma, beta, mean, inv_std);
  if (const auto blocks = blocked(p, input_array))
    return batch_norm_backward(p, batch_statistics, stored(blocks), gradient_array, channels,
                               grad_input_array, grad_gamma, grad_beta);
  const PlaneLoops<T>& loops = *plane_loops().of<T>();
  const T *input = input_array, *grad_output = gradient_array;
  T* grad_input = grad_input_array;
  // The gradient behind dropout waits for the second pass where the result will stand: the mask is drawn
  // once.
  const bool dropped = p.dropout.p > 0;
  Array<GradientSums> pieces(static_cast<std::size_t>(piece_count(p)));
  for_pieces(p, [&](std::size_t i, const Piece& piece) {
    thread_local Scratch<T> memory;
    const T* gradient = grad_output + piece.first;
    if (dropped) {
      T* masked = grad_input ? grad_input + piece.first : memory.reserve(max_piece);
      drop(p.dropout, piece.first, piece.count, gradient, masked);
      gradient = masked;
    }
    pieces[i] = loops.gradient_sums(channels[static_cast<std::size_t>(piece.channel)], input + piece.first,
                                    gradient, piece.count);
  });
  Array<GradientSums> sums(channels.size(), GradientSums{0, 0});
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    GradientSums& sum = sums[static_cast<std::size_t>(piece_at(p, static_cast<std::int64_t>(i)).channel)];
    sum.plain += pieces[i].plain;
    sum.normalized += pieces[i].normalized;
  }
  for (std::size_t c = 0; c < sums.size() && grad_gamma; ++c) {
    grad_gamma[c] = static_cast<T>(sums[c].normalized);
    grad_beta[c] = static_cast<T>(sums[c].plain);
  }
  if (!grad_input) return;
  // Constant statistics pass nothing on from one value to the others, NaN included.
  const auto share_of = [&](double sum) {
    return batch_statistics ? static_cast<T>(sum / static_cast<double>(p.n * p.plane)) : T(0);
  };
  for_pieces(p, [&](std::size_t, const Piece& piece) {
    const std::size_t c = static_cast<std::size_t>(piece.channel);
    loops.input_gradient(channels[c], share_of(sums[c].plain), share_of(sums[c].normalized),
                         input + piece.first, (dropped ? grad_input : grad_output) + piece.first, piece.count,
                         grad_input + piece.first);
  });
}

template <class T>
constexpr BatchNormKernels<T> batch_norm{forward_training<T>, forward_inference<T>, backward<T>};

}  // namespace

template <>
Tables<BatchNormKernels> tables() {
  return {&batch_norm<float>, &batch_norm<double>};
}

}  // namespace kg::kernels::cpu
