// SPDX-License-Identifier: MIT
#include "kernels/cpu/max_pool2d_blocks.h"

#include <algorithm>

#include "kernels/cpu/memory.h"
#include "kernels/cpu/pool2d_window.h"
#include "kernels/cpu/scratch.h"

namespace kg::kernels::cpu {

template <class T>
void Winners<T>::write_plain(void* argmax) const {
  const std::int64_t out_w = problem_.out_w(), plane = problem_.out_h() * out_w;
  Array<T> places(static_cast<std::size_t>(problem_.planes * plane));
  places_->write_plain(places.data());
  for (std::int64_t i = 0; i < problem_.planes * plane; ++i) {
    const Window rows = window_rows(problem_, i % plane / out_w),
                 columns = window_columns(problem_, i % out_w);
    const std::int64_t place = static_cast<std::int64_t>(places[static_cast<std::size_t>(i)]),
                       width = columns.end - columns.begin;
    static_cast<std::int32_t*>(argmax)[i] =
        static_cast<std::int32_t>((rows.begin + place / width) * problem_.w + columns.begin + place % width);
  }
}

template <class T>
std::shared_ptr<const Blocks<T>> blocks_to_pool(const Pool2dProblem& p, Input<T> input) {
  const std::int64_t plane = p.h * p.w;
  // Places in a window are counted in T.
  constexpr std::int64_t most = 1 << 20;
  auto blocks = input.template form<Blocks<T>>();
  const bool fits = blocks && blocks->images() * blocks->count() == p.planes * plane &&
                    blocks->count() % plane == 0 && p.k_h <= most / p.k_w;
  return fits ? blocks : nullptr;
}

template <class T>
void max_pool2d_forward(const Pool2dProblem& p, const Blocks<T>& input, Output<T> output,
                        Output<std::int32_t> argmax) {
  const std::int64_t plane = p.h * p.w, out_plane = p.out_h() * p.out_w(), channels = input.count() / plane,
                     lanes = input.lanes();
  const auto result = std::make_shared<StoredBlocks<T>>(input.images(), channels, out_plane);
  const auto places = std::make_shared<StoredBlocks<T>>(input.images(), channels, out_plane);
  parallel_for(input.blocks(), [&](std::int64_t index) {
    thread_local Scratch<T> memory;
    const T* block = input.block(index, memory.reserve(input.block_size()));
    for (std::int64_t c = 0; c < channels; ++c)
      block_loops().of<T>()->max_pool(p, block + c * plane * lanes,
                                      result->block(index) + c * out_plane * lanes,
                                      places->block(index) + c * out_plane * lanes);
  });
  output.keep(result);
  argmax.keep(std::make_shared<Winners<T>>(p, places));
}

namespace {

/// The gradient of the pooled images, which has yet to be computed.
template <class T>
class GradientOfMaxPool final : public Blocks<T> {
 public:
  GradientOfMaxPool(const Pool2dProblem& problem, std::shared_ptr<const Winners<T>> winners,
                    std::shared_ptr<const StoredBlocks<T>> grad_output)
      : Blocks<T>(grad_output->images(), grad_output->channels(), problem.h * problem.w),
        problem_(problem),
        winners_(std::move(winners)),
        grad_output_(std::move(grad_output)) {}

  const T* block(std::int64_t index, T* scratch) const override {
    const std::int64_t lanes = this->lanes(), out_plane = problem_.out_h() * problem_.out_w();
    std::fill_n(scratch, this->block_size(), T(0));
    for (std::int64_t c = 0; c < this->channels(); ++c)
      block_loops().of<T>()->max_pool_backward(problem_, grad_output_->block(index) + c * out_plane * lanes,
                                               winners_->places().block(index) + c * out_plane * lanes,
                                               scratch + c * this->plane() * lanes);
    return scratch;
  }

 private:
  Pool2dProblem problem_;
  std::shared_ptr<const Winners<T>> winners_;
  std::shared_ptr<const StoredBlocks<T>> grad_output_;
};

}  // namespace

template <class T>
void max_pool2d_backward(const Pool2dProblem& p, const std::shared_ptr<const Winners<T>>& winners,
                         Input<T> grad_output, Output<T> grad_input) {
  const StoredBlocks<T>& places = winners->places();
  grad_input.keep(std::make_shared<GradientOfMaxPool<T>>(
      p, winners, stored(blocks_of(grad_output, places.images(), places.channels(), places.plane()))));
}

#define KG_BLOCKS(T)                                                                                         \
  template class Winners<T>;                                                                                 \
  template std::shared_ptr<const Blocks<T>> blocks_to_pool(const Pool2dProblem&, Input<T>);                  \
  template void max_pool2d_forward(const Pool2dProblem&, const Blocks<T>&, Output<T>, Output<std::int32_t>); \
  template void max_pool2d_backward(const Pool2dProblem&, const std::shared_ptr<const Winners<T>>&,          \
                                    Input<T>, Output<T>);
KG_BLOCKS(float)
KG_BLOCKS(double)
#undef KG_BLOCKS

}  // namespace kg::kernels::cpu
