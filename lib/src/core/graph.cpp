// SPDX-License-Identifier: MIT
#include "kernelgrad/graph.h"

#include "core/capture.h"
#include "core/storage.h"
#include "kernels/graph.h"

namespace kg {

struct Graph::Impl {
  Capture capture;
  kernels::cuda::Graph* recorded = nullptr;
  /// For each source of random numbers, the draw that the next replay begins with if nobody else draws.
  std::vector<std::uint64_t> next_draws;

  ~Impl() { kernels::cuda::destroy_graph(recorded); }
};

Graph::Graph(const std::function<void()>& work) try {
  if (!work) throw Error("Graph: the work is empty");
  if (!cuda_is_available()) throw Error("Graph: cuda is not available: " + cuda_unavailable_reason());
  impl_ = std::make_unique<Impl>();
  Capture& capture = impl_->capture;
  // Kernels are loaded when they are first launched, which should not be in a recording.
  kernels::cuda::advance_counter(capture.word(0), 0);
  kernels::cuda::begin_capture();
  try {
    work();
    for (std::size_t i = 0; i < capture.sources().size(); ++i)
      kernels::cuda::advance_counter(capture.word(i), capture.sources()[i].draws);
  } catch (...) {
    // Before other threads go on, who may have tensors of the recording's.
    capture.finish();
    kernels::cuda::abandon_capture();
    throw;
  }
  capture.finish();
  impl_->recorded = kernels::cuda::end_capture();
  for (const Capture::Source& source : capture.sources()) impl_->next_draws.push_back(source.first_draw);
} catch (const std::bad_alloc&) {
  no_memory("Graph");
}

Graph::~Graph() = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(Graph&&) noexcept = default;

void Graph::replay() {
  if (!impl_) throw Error("Graph: replay() of one that was moved away");
  const std::vector<Capture::Source>& sources = impl_->capture.sources();
  for (const Capture::Source& source : sources)
    if (source.generator->seed() != source.seed)
      throw Error("Graph: a generator that the recorded work draws from has been given another seed since");
  impl_->capture.begin_replay();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const Capture::Source& source = sources[i];
    const std::uint64_t draws = source.generator->draws();
    if (draws != impl_->next_draws[i]) {
      // Somebody has drawn between the replays, or gone back: the count on the device no longer holds.
      const std::uint64_t moved = draws - source.first_draw;
      functions_of(Device::cuda()).copy_from_host(impl_->capture.word(i), &moved, sizeof moved);
    }
    impl_->next_draws[i] = draws + source.draws;
    source.generator->set_state(source.seed, impl_->next_draws[i]);
  }
  kernels::cuda::launch_graph(*impl_->recorded);
}

}  // namespace kg
