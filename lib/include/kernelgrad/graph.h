// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <memory>

#include "kernelgrad/export.h"

namespace KG_API kg {

/// Work on Device::cuda(), recorded once and then run again and again at the cost of a single launch: a CUDA
/// graph.
///
///     train_step();                          // once, so that everything that lasts has been allocated
///     kg::Graph graph(train_step);           // recorded, not run
///     for (int i = 0; i < 1000; ++i) graph.replay();
///
/// A replay reads and writes the same memory as the recording named: to feed it other data, write them into
/// the tensors that the work reads. Numbers that the host computed are part of the recording; what changes
/// from replay to replay must come from device memory. Dropout's random numbers do: replays draw on from
/// wherever their generator stands, exactly as running the work would have, and advance it: it must outlive
/// the graph.
///
/// While a thread records work, other threads that use Device::cuda() wait for the end of the recording. So
/// the work must not itself wait for what another thread does there; that includes the body of a
/// parallel_for().
class Graph {
 public:
  /// Records `work`. Throws Error where CUDA is not available; if the work copies to or from the host or
  /// waits for the device, which a recording cannot hold; if it leaves a tensor behind that it allocated, or
  /// releases one from before; and again whatever `work` throws. None of the work has been done then, and a
  /// tensor that it allocated and left behind has lost its memory: a gradient of a leaf is undefined again,
  /// and the use of any other throws Error.
  explicit Graph(const std::function<void()>& work);
  ~Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;

  /// Queues the recorded work, and bumps the versions (Tensor::version) of the tensors that it overwrites.
  /// Throws Error, having done nothing, if a tensor that the work reads or writes is gone, or if a generator
  /// that it draws from has another seed than when it was recorded.
  void replay();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kg
