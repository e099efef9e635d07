// SPDX-License-Identifier: MIT
#include "kernels/cpu/blocks.h"

#include "kernels/cpu/scratch.h"

namespace kg::kernels::cpu {

namespace {

/// Blocks of an array of images, made when they are asked for.
template <class T>
class PlainBlocks final : public Blocks<T> {
 public:
  PlainBlocks(const T* array, std::int64_t images, std::int64_t channels, std::int64_t plane)
      : Blocks<T>(images, channels, plane), array_(array) {}

  const T* block(std::int64_t index, T* scratch) const override {
    block_loops().of<T>()->to_block(array_ + index * this->block_size(), this->images_of(index),
                                    this->count(), scratch);
    return scratch;
  }

 private:
  const T* array_;
};

/// Blocks of planes each of which has one value.
template <class T>
class ConstantBlocks final : public Blocks<T> {
 public:
  ConstantBlocks(std::shared_ptr<const ConstantPlanes<T>> planes, std::int64_t images, std::int64_t channels)
      : Blocks<T>(images, channels, planes->plane()), planes_(std::move(planes)) {}

  const T* block(std::int64_t index, T* scratch) const override {
    const std::int64_t lanes = this->lanes(), images = this->images_of(index);
    for (std::int64_t c = 0; c < this->channels(); ++c) {
      T* first = scratch + c * this->plane() * lanes;
      for (std::int64_t i = 0; i < lanes; ++i)
        first[i] =
            i < images
                ? planes_->values()[static_cast<std::size_t>((index * lanes + i) * this->channels() + c)]
                : T(0);
      for (std::int64_t k = 1; k < this->plane(); ++k) std::copy_n(first, lanes, first + k * lanes);
    }
    return scratch;
  }

 private:
  std::shared_ptr<const ConstantPlanes<T>> planes_;
};

}  // namespace

template <class T>
void Blocks<T>::write_plain(void* elements) const {
  parallel_for(blocks(), [&](std::int64_t index) {
    thread_local Scratch<T> memory;
    block_loops().of<T>()->from_block(block(index, memory.reserve(block_size())), count(), images_of(index),
                                      static_cast<T*>(elements) + index * block_size());
  });
}

template <class T>
void ConstantPlanes<T>::write_plain(void* elements) const {
  T* to = static_cast<T*>(elements);
  for (const T value : values_) to = std::fill_n(to, plane_, value);
}

template <class T>
std::shared_ptr<const Blocks<T>> form_of(Input<T> array, std::int64_t images, std::int64_t channels,
                                         std::int64_t plane) {
  if (auto blocks = array.template form<Blocks<T>>())
    return blocks->images() == images && blocks->count() == channels * plane ? blocks : nullptr;
  auto planes = array.template form<ConstantPlanes<T>>();
  const bool fits = planes && planes->plane() == plane &&
                    static_cast<std::int64_t>(planes->values().size()) == images * channels;
  return fits ? std::make_shared<ConstantBlocks<T>>(std::move(planes), images, channels) : nullptr;
}

template <class T>
std::shared_ptr<const Blocks<T>> blocks_of(Input<T> array, std::int64_t images, std::int64_t channels,
                                           std::int64_t plane) {
  if (auto form = form_of(array, images, channels, plane)) return form;
  return std::make_shared<PlainBlocks<T>>(array, images, channels, plane);
}

template <class T>
std::shared_ptr<const StoredBlocks<T>> Blocks<T>::store(const Use& use) const {
  const auto result = std::make_shared<StoredBlocks<T>>(images(), channels(), plane());
  parallel_for(blocks(), [&](std::int64_t index) {
    T* to = result->block(index);
    const T* from = block(index, to);
    if (from != to) std::copy_n(from, block_size(), to);
    if (use) use(index, to);
  });
  return result;
}

template <class T>
std::shared_ptr<const StoredBlocks<T>> stored(const std::shared_ptr<const Blocks<T>>& blocks,
                                              const typename Blocks<T>::Use& use) {
  const auto already = std::dynamic_pointer_cast<const StoredBlocks<T>>(blocks);
  if (!already) return blocks->store(use);
  if (use) parallel_for(blocks->blocks(), [&](std::int64_t index) { use(index, already->block(index)); });
  return already;
}

#define KG_BLOCKS(T)                                                                                       \
  template class Blocks<T>;                                                                                \
  template class StoredBlocks<T>;                                                                          \
  template class ConstantPlanes<T>;                                                                        \
  template std::shared_ptr<const Blocks<T>> form_of(Input<T>, std::int64_t, std::int64_t, std::int64_t);   \
  template std::shared_ptr<const Blocks<T>> blocks_of(Input<T>, std::int64_t, std::int64_t, std::int64_t); \
  template std::shared_ptr<const StoredBlocks<T>> stored(const std::shared_ptr<const Blocks<T>>&,          \
                                                         const Blocks<T>::Use&);
KG_BLOCKS(float)
KG_BLOCKS(double)
#undef KG_BLOCKS

}  // namespace kg::kernels::cpu
