// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "kernels/batch_norm.h"
#include "kernels/cpu/batch_norm_plane.h"
#include "kernels/cpu/blocks.h"
#include "kernels/cpu/dropout_blocks.h"
#include "kernels/cpu/memory.h"

/// Batch norm of images in blocks: a pass that takes the statistics. What is left is done by the kernel that
/// loads the blocks next.
namespace kg::kernels::cpu {

/// Images behind a batch norm (kernels/batch_norm.h) that has yet to be applied to those in front of it.
template <class T>
class Normalized final : public Blocks<T> {
 public:
  /// Draws dropout's mask.
  Normalized(std::shared_ptr<const Blocks<T>> input, Array<Channel<T>> channels,
             const DropoutProblem& dropout);

  const T* block(std::int64_t index, T* scratch) const override;
  int depth() const override { return input_->depth() + 1; }

  /// Whether the input is in memory, as what follows needs it.
  bool has_stored_input() const { return stored_ != nullptr; }
  /// True if this is what a batch norm with these arguments makes of the input.
  bool is(const StoredBlocks<T>& input, std::span<const Channel<T>> channels,
          const DropoutProblem& dropout) const;
  /// What gradient_sums() says of every channel of a block, given the gradient of these images.
  void gradient_sums(std::int64_t index, const T* gradient, std::span<GradientSums> sums) const;
  /// The gradient of a block of the input, given that of these images and the means over all of its values.
  void input_gradient(std::int64_t index, const T* gradient, std::span<const T> mean_plain,
                      std::span<const T> mean_normalized, T* grad_input) const;

 private:
  /// Calls body(channel, input, gradient, count, first) for pieces of a block, with the gradient in front of
  /// dropout.
  template <class Body>
  void for_gradients(std::int64_t index, const T* gradient, const Body& body) const;

  std::shared_ptr<const Blocks<T>> input_;
  std::shared_ptr<const StoredBlocks<T>> stored_;  ///< The input, if it is; else null.
  Array<Channel<T>> channels_;
  BlockMask<T> mask_;
};

/// The gradient of images behind a batch norm, with the sums that its backward needs: whoever computes a
/// block of the gradient has it in a near cache, and adds them up there.
template <class T>
class GradientOfNormalized final : public StoredBlocks<T> {
 public:
  explicit GradientOfNormalized(std::shared_ptr<const Normalized<T>> normalized)
      : StoredBlocks<T>(normalized->images(), normalized->channels(), normalized->plane()),
        normalized_(std::move(normalized)),
        sums_(static_cast<std::size_t>(this->blocks() * this->channels())) {}

  const std::shared_ptr<const Normalized<T>>& normalized() const { return normalized_; }
  /// To be called once for each block, when it has been written.
  void add_up(std::int64_t index) {
    normalized_->gradient_sums(index, this->block(index),
                               std::span(sums_).subspan(static_cast<std::size_t>(index * this->channels()),
                                                        static_cast<std::size_t>(this->channels())));
  }
  /// Of every channel, over all blocks in order.
  Array<GradientSums> sums() const;

 private:
  std::shared_ptr<const Normalized<T>> normalized_;
  Array<GradientSums> sums_;  ///< [blocks][channels]
};

/// The moments of a piece of a channel, a number of values.
struct ChannelPiece {
  std::size_t channel;
  double count;
  Moments moments;
};

/// The input in memory, and the pieces of all channels in an order that does not depend on the threads.
template <class T>
struct WithMoments {
  std::shared_ptr<const StoredBlocks<T>> input;
  Array<ChannelPiece> pieces;
};

template <class T>
WithMoments<T> with_moments(const std::shared_ptr<const Blocks<T>>& input, std::int64_t channels,
                            bool relu_before);

/// backward() of kernels/batch_norm.h on blocks.
template <class T>
void batch_norm_backward(const BatchNormProblem& problem, bool batch_statistics,
                         const std::shared_ptr<const StoredBlocks<T>>& input, Input<T> grad_output,
                         Array<Channel<T>> channels, Output<T> grad_input, T* grad_gamma, T* grad_beta);

}  // namespace kg::kernels::cpu
