// SPDX-License-Identifier: MIT
#include "kernels/cpu/dropout_blocks.h"

#include "kernels/cpu/dropout.h"
#include "kernels/cpu/scratch.h"

namespace kg::kernels::cpu {

template <class T>
BlockMask<T>::BlockMask(const Blocks<T>& images, const DropoutProblem& problem)
    : problem_(problem),
      count_(images.count()),
      bits_(static_cast<std::size_t>(
          keeps_all() ? 0 : images.blocks() * count_ * block_loops().of<T>()->mask_bytes() + mask_slack)) {
  if (keeps_all()) return;
  const BlockLoops<T>& loops = *block_loops().of<T>();
  parallel_for(images.blocks(), [&](std::int64_t index) {
    thread_local Scratch<T> factor_memory, block_memory;
    const std::int64_t first = index * loops.lanes * count_, present = images.images_of(index);
    std::uint8_t* bits = bits_.as<std::uint8_t>() + index * count_ * loops.mask_bytes();
    if (sizeof(T) == sizeof(std::uint32_t) && draw_masks(problem, first, loops.lanes, count_, bits)) return;
    T* factors = factor_memory.reserve(present * count_);
    dropout_factors(problem, first, present * count_, factors);
    T* block = block_memory.reserve(images.block_size());
    loops.to_block(factors, present, count_, block);
    loops.to_mask(block, count_, bits);
  });
}

template <class T>
void BlockMask<T>::apply(std::int64_t index, std::int64_t first, std::int64_t count, const T* x, T* y) const {
  const BlockLoops<T>& loops = *block_loops().of<T>();
  loops.multiply_by_mask(
      x, bits_.as<std::uint8_t>() + (index * count_ + first / loops.lanes) * loops.mask_bytes(),
      static_cast<T>(problem_.scale()), count / loops.lanes, y);
}

template class BlockMask<float>;
template class BlockMask<double>;

}  // namespace kg::kernels::cpu
