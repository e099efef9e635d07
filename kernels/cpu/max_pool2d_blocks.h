// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "kernels/cpu/blocks.h"
#include "kernels/max_pool2d.h"

/// Max pooling of images in blocks.
namespace kg::kernels::cpu {

/// argmax of images in blocks: where in its window each winner is.
template <class T>
class Winners final : public Form {
 public:
  Winners(const Pool2dProblem& problem, std::shared_ptr<const StoredBlocks<T>> places)
      : problem_(problem), places_(std::move(places)) {}

  const StoredBlocks<T>& places() const { return *places_; }
  void write_plain(void* argmax) const override;

 private:
  Pool2dProblem problem_;
  std::shared_ptr<const StoredBlocks<T>> places_;
};

/// The input's blocks, if it is in blocks and they can be pooled; otherwise null.
template <class T>
std::shared_ptr<const Blocks<T>> blocks_to_pool(const Pool2dProblem& problem, Input<T> input);

template <class T>
void max_pool2d_forward(const Pool2dProblem& problem, const Blocks<T>& input, Output<T> output,
                        Output<std::int32_t> argmax);

template <class T>
void max_pool2d_backward(const Pool2dProblem& problem, const std::shared_ptr<const Winners<T>>& winners,
                         Input<T> grad_output, Output<T> grad_input);

}  // namespace kg::kernels::cpu
