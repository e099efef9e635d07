// SPDX-License-Identifier: MIT
#include "kernels/cpu/batch_norm_blocks.h"

#include <algorithm>

#include "kernels/cpu/memory.h"
#include "kernels/cpu/scratch.h"

namespace kg::kernels::cpu {

namespace {

/// Calls body(channel, offset, elements) for pieces of a block, none of more than max_piece elements and each
/// within a channel's plane.
template <class T, class Body>
void for_pieces(const Blocks<T>& blocks, std::int64_t channels, const Body& body) {
  const std::int64_t plane = blocks.block_size() / channels;
  for (std::int64_t c = 0; c < channels; ++c)
    for (std::int64_t i = 0; i < plane; i += max_piece)
      body(static_cast<std::size_t>(c), c * plane + i, std::min(max_piece, plane - i));
}

}  // namespace

template <class T>
Normalized<T>::Normalized(std::shared_ptr<const Blocks<T>> input, Array<Channel<T>> channels,
                          const DropoutProblem& dropout)
    : Blocks<T>(input->images(), static_cast<std::int64_t>(channels.size()),
                input->count() / static_cast<std::int64_t>(channels.size())),
      input_(std::move(input)),
      stored_(std::dynamic_pointer_cast<const StoredBlocks<T>>(input_)),
      channels_(std::move(channels)),
      mask_(*input_, dropout) {}

template <class T>
const T* Normalized<T>::block(std::int64_t index, T* scratch) const {
  const T* input = input_->block(index, scratch);
  for_pieces(*this, this->channels(), [&](std::size_t c, std::int64_t first, std::int64_t count) {
    plane_loops().of<T>()->normalize(channels_[c], input + first, count, scratch + first);
    if (!mask_.keeps_all()) mask_.apply(index, first, count, scratch + first, scratch + first);
  });
  return scratch;
}

template <class T>
bool Normalized<T>::is(const StoredBlocks<T>& input, std::span<const Channel<T>> channels,
                       const DropoutProblem& dropout) const {
  // Backward does not know the shift where it is of no consequence.
  const auto same = [](const Channel<T>& a, const Channel<T>& b) {
    return a.relu_before == b.relu_before && a.relu_after == b.relu_after && a.mean == b.mean &&
           a.inv_std == b.inv_std && a.scale == b.scale && (!a.relu_after || a.shift == b.shift);
  };
  return stored_.get() == &input && std::ranges::equal(channels_, channels, same) && mask_.is_of(dropout);
}

template <class T>
template <class Body>
void Normalized<T>::for_gradients(std::int64_t index, const T* gradient, const Body& body) const {
  for_pieces(*this, this->channels(), [&](std::size_t c, std::int64_t first, std::int64_t count) {
    alignas(64) T dropped[max_piece];
    if (!mask_.keeps_all()) mask_.apply(index, first, count, gradient + first, dropped);
    body(c, stored_->block(index) + first, mask_.keeps_all() ? gradient + first : dropped, count, first);
  });
}

template <class T>
void Normalized<T>::gradient_sums(std::int64_t index, const T* gradient, std::span<GradientSums> sums) const {
  std::ranges::fill(sums, GradientSums{0, 0});
  for_gradients(index, gradient,
                [&](std::size_t c, const T* input, const T* behind, std::int64_t count, std::int64_t) {
                  const GradientSums of_piece =
                      plane_loops().of<T>()->gradient_sums(channels_[c], input, behind, count);
                  sums[c].plain += of_piece.plain;
                  sums[c].normalized += of_piece.normalized;
                });
}

template <class T>
void Normalized<T>::input_gradient(std::int64_t index, const T* gradient, std::span<const T> mean_plain,
                                   std::span<const T> mean_normalized, T* grad_input) const {
  for_gradients(index, gradient,
                [&](std::size_t c, const T* input, const T* behind, std::int64_t count, std::int64_t first) {
                  plane_loops().of<T>()->input_gradient(channels_[c], mean_plain[c], mean_normalized[c],
                                                        input, behind, count, grad_input + first);
                });
  this->clear_missing(index, grad_input);
}

template <class T>
Array<GradientSums> GradientOfNormalized<T>::sums() const {
  Array<GradientSums> sums(static_cast<std::size_t>(this->channels()), GradientSums{0, 0});
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    sums[i % sums.size()].plain += sums_[i].plain;
    sums[i % sums.size()].normalized += sums_[i].normalized;
  }
  return sums;
}

namespace {

/// The gradient of images in front of a batch norm, which has yet to be computed.
template <class T>
class GradientBeforeNormalized final : public Blocks<T> {
 public:
  GradientBeforeNormalized(std::shared_ptr<const Normalized<T>> normalized,
                           std::shared_ptr<const StoredBlocks<T>> gradient, Array<T> mean_plain,
                           Array<T> mean_normalized)
      : Blocks<T>(normalized->images(), normalized->channels(), normalized->plane()),
        normalized_(std::move(normalized)),
        gradient_(std::move(gradient)),
        mean_plain_(std::move(mean_plain)),
        mean_normalized_(std::move(mean_normalized)) {}

  const T* block(std::int64_t index, T* scratch) const override {
    normalized_->input_gradient(index, gradient_->block(index), mean_plain_, mean_normalized_, scratch);
    return scratch;
  }

 private:
  std::shared_ptr<const Normalized<T>> normalized_;
  std::shared_ptr<const StoredBlocks<T>> gradient_;
  Array<T> mean_plain_, mean_normalized_;
};

/// The gradient with its sums: as it comes from a convolution, or put together here.
template <class T>
std::shared_ptr<const GradientOfNormalized<T>> with_sums(const std::shared_ptr<const Blocks<T>>& gradient,
                                                         const std::shared_ptr<const StoredBlocks<T>>& input,
                                                         Array<Channel<T>> channels,
                                                         const DropoutProblem& dropout) {
  auto known = std::dynamic_pointer_cast<const GradientOfNormalized<T>>(gradient);
  if (known && known->normalized()->is(*input, channels, dropout)) return known;
  const auto normalized = std::make_shared<Normalized<T>>(input, std::move(channels), dropout);
  const auto result = std::make_shared<GradientOfNormalized<T>>(normalized);
  parallel_for(gradient->blocks(), [&](std::int64_t index) {
    T* to = result->block(index);
    const T* from = gradient->block(index, to);
    if (from != to) std::copy_n(from, gradient->block_size(), to);
    result->add_up(index);
  });
  return result;
}

}  // namespace

template <class T>
WithMoments<T> with_moments(const std::shared_ptr<const Blocks<T>>& input, std::int64_t channels,
                            bool relu_before) {
  // In a block that is not full, the pieces are those of its images.
  const BlockLoops<T>& loops = *block_loops().of<T>();
  const std::int64_t plane = input->block_size() / channels, pieces_per_channel = ceil_div(plane, max_piece);
  Array<ChannelPiece> pieces(static_cast<std::size_t>(input->blocks() * channels * pieces_per_channel));
  const auto add_moments = [&](std::int64_t index, const T* block) {
    thread_local Scratch<T> memory;
    const std::int64_t images = input->images_of(index);
    for_pieces(*input, channels, [&](std::size_t c, std::int64_t first, std::int64_t count) {
      const T* x = block + first;
      if (images < loops.lanes) {
        T* present = memory.reserve(max_piece);
        loops.from_block(x, count / loops.lanes, images, present);
        x = present;
        count = count / loops.lanes * images;
      }
      const std::int64_t at = (index * channels + static_cast<std::int64_t>(c)) * pieces_per_channel +
                              (first - static_cast<std::int64_t>(c) * plane) / max_piece;
      pieces[static_cast<std::size_t>(at)] = {
          .channel = c,
          .count = static_cast<double>(count),
          .moments = plane_loops().of<T>()->moments(x, count, relu_before)};
    });
  };
  auto in_memory = stored<T>(input, add_moments);
  return {std::move(in_memory), std::move(pieces)};
}

template <class T>
void batch_norm_backward(const BatchNormProblem& problem, bool batch_statistics,
                         const std::shared_ptr<const StoredBlocks<T>>& input, Input<T> grad_output,
                         Array<Channel<T>> channels, Output<T> grad_input, T* grad_gamma, T* grad_beta) {
  const auto gradient = with_sums(blocks_of(grad_output, problem.n, problem.channels, problem.plane), input,
                                  std::move(channels), problem.dropout);
  const Array<GradientSums> sums = gradient->sums();
  Array<T> mean_plain, mean_normalized;
  for (std::size_t c = 0; c < sums.size(); ++c) {
    if (grad_gamma) grad_gamma[c] = static_cast<T>(sums[c].normalized);
    if (grad_beta) grad_beta[c] = static_cast<T>(sums[c].plain);
    // Constant statistics pass nothing on from one value to the others, NaN included.
    const double count = static_cast<double>(problem.n * problem.plane);
    mean_plain.push_back(batch_statistics ? static_cast<T>(sums[c].plain / count) : T(0));
    mean_normalized.push_back(batch_statistics ? static_cast<T>(sums[c].normalized / count) : T(0));
  }
  if (grad_input)
    grad_input.keep(std::make_shared<GradientBeforeNormalized<T>>(
        gradient->normalized(), gradient, std::move(mean_plain), std::move(mean_normalized)));
}

#define KG_BLOCKS(T)                                                                                 \
  template class Normalized<T>;                                                                      \
  template class GradientOfNormalized<T>;                                                            \
  template WithMoments<T> with_moments(const std::shared_ptr<const Blocks<T>>&, std::int64_t, bool); \
  template void batch_norm_backward(const BatchNormProblem&, bool,                                   \
                                    const std::shared_ptr<const StoredBlocks<T>>&, Input<T>,         \
                                    Array<Channel<T>>, Output<T>, T*, T*);
KG_BLOCKS(float)
KG_BLOCKS(double)
#undef KG_BLOCKS

}  // namespace kg::kernels::cpu
