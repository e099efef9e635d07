// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "kernels/cpu/block_loops.h"
#include "kernels/cpu/memory.h"
#include "kernels/form.h"
#include "kernels/parallel.h"

/// The CPU backend's forms (kernels/form.h): images in blocks, each of as many images as a vector has lanes.
/// What a batch norm or a pooling has yet to do to them is done where the next kernel loads a block, into
/// memory that a near cache holds, and never written to a far one.
namespace kg::kernels::cpu {

template <class T>
class StoredBlocks;

/// Forms that are computed one from another keep a thread's stack and its memory small.
inline constexpr int max_depth = 8;

/// Images of channels x plane elements in blocks: element k of the image in lane i at [k][i]. Lanes without
/// an image, in the last block, hold 0 where the images are a gradient, otherwise anything finite.
template <class T>
class Blocks : public Form {
 public:
  Blocks(std::int64_t images, std::int64_t channels, std::int64_t plane)
      : images_(images), channels_(channels), plane_(plane), lanes_(block_loops().of<T>()->lanes) {}

  std::int64_t images() const { return images_; }
  std::int64_t channels() const { return channels_; }
  std::int64_t plane() const { return plane_; }
  /// Elements of an image.
  std::int64_t count() const { return channels_ * plane_; }
  /// Blocks, and how many images the block with a number holds.
  std::int64_t blocks() const { return ceil_div(images_, lanes()); }
  std::int64_t images_of(std::int64_t block) const { return std::min(lanes(), images_ - block * lanes()); }
  std::int64_t lanes() const { return lanes_; }
  /// Elements of a block.
  std::int64_t block_size() const { return count() * lanes(); }

  /// A block: where it lies, or computed into `scratch`, which has room for one.
  virtual const T* block(std::int64_t index, T* scratch) const = 0;
  /// How many forms have to be computed, each for the next, to get a block: at most max_depth.
  virtual int depth() const { return 0; }
  /// The same blocks in memory. Each has been given to use(index, block) while a near cache held it.
  using Use = std::function<void(std::int64_t, const T*)>;
  virtual std::shared_ptr<const StoredBlocks<T>> store(const Use& use) const;

  void write_plain(void* elements) const final;

 protected:
  /// Sets the lanes of a block to 0 that no image is in.
  void clear_missing(std::int64_t index, T* block) const {
    const std::int64_t present = images_of(index);
    for (std::int64_t k = 0; k < block_size() && present < lanes(); k += lanes())
      std::fill(block + k + present, block + k + lanes(), T(0));
  }

 private:
  std::int64_t images_, channels_, plane_, lanes_;
};

/// Blocks in memory.
template <class T>
class StoredBlocks : public Blocks<T> {
 public:
  /// Elements unspecified.
  StoredBlocks(std::int64_t images, std::int64_t channels, std::int64_t plane)
      : Blocks<T>(images, channels, plane),
        memory_(static_cast<std::size_t>(this->blocks() * this->block_size()) * sizeof(T)) {}

  const T* block(std::int64_t index, T*) const override { return block(index); }
  const T* block(std::int64_t index) const { return memory_.as<const T>() + index * this->block_size(); }
  T* block(std::int64_t index) { return memory_.as<T>() + index * this->block_size(); }

 private:
  Memory memory_;
};

/// Planes each of which has one value throughout, such as the gradient of their means.
template <class T>
class ConstantPlanes final : public Form {
 public:
  ConstantPlanes(Array<T> values, std::int64_t plane) : values_(std::move(values)), plane_(plane) {}

  const Array<T>& values() const { return values_; }
  std::int64_t plane() const { return plane_; }
  void write_plain(void* elements) const override;

 private:
  Array<T> values_;
  std::int64_t plane_;
};

/// The array as blocks if it is in a form that gives some of so many images; null otherwise.
template <class T>
std::shared_ptr<const Blocks<T>> form_of(Input<T> array, std::int64_t images, std::int64_t channels,
                                         std::int64_t plane);

/// form_of(), or blocks that are made of the plain elements, as long as these are there.
template <class T>
std::shared_ptr<const Blocks<T>> blocks_of(Input<T> array, std::int64_t images, std::int64_t channels,
                                           std::int64_t plane);

/// The same blocks in memory, where they may be already. Each has been given to use(), if there is one.
template <class T>
std::shared_ptr<const StoredBlocks<T>> stored(const std::shared_ptr<const Blocks<T>>& blocks,
                                              const typename Blocks<T>::Use& use = {});

}  // namespace kg::kernels::cpu
