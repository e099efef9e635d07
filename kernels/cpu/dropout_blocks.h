// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <utility>

#include "kernels/cpu/blocks.h"
#include "kernels/dropout.h"

/// Dropout of images in blocks: the mask is drawn once, and applied where a block is loaded.
namespace kg::kernels::cpu {

/// Which values of some images are kept.
template <class T>
class BlockMask {
 public:
  /// Draws it, for images like these.
  BlockMask(const Blocks<T>& images, const DropoutProblem& problem);

  bool keeps_all() const { return problem_.p == 0; }
  /// y = dropout(x) for `count` elements of a block from `first` on, both multiples of the lanes.
  void apply(std::int64_t index, std::int64_t first, std::int64_t count, const T* x, T* y) const;
  /// True if it is the mask of this problem, given that it is of images of the same shape.
  bool is_of(const DropoutProblem& problem) const {
    return problem.p == problem_.p && problem.seed == problem_.seed && problem.offset == problem_.offset;
  }

 private:
  DropoutProblem problem_;
  std::int64_t count_;  ///< Elements of an image.
  Memory bits_;         ///< A bit for each value, mask_bytes() for each vector.
};

/// Images to which dropout has yet to be applied.
template <class T>
class Dropped final : public Blocks<T> {
 public:
  Dropped(std::shared_ptr<const StoredBlocks<T>> input, const DropoutProblem& problem)
      : Blocks<T>(input->images(), input->channels(), input->plane()),
        input_(std::move(input)),
        mask_(*input_, problem) {}

  const T* block(std::int64_t index, T* scratch) const override {
    mask_.apply(index, 0, this->block_size(), input_->block(index), scratch);
    return scratch;
  }

 private:
  std::shared_ptr<const StoredBlocks<T>> input_;
  BlockMask<T> mask_;
};

}  // namespace kg::kernels::cpu
