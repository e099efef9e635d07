#pragma once

#include <functional>
#include <memory>

namespace kg {

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
/// While work is being recorded no other thread may use Device::cuda(): what it did would be recorded too.
class Graph {
 public:
  /// Records `work`. Throws Error where CUDA is not available; if the work copies to or from the host or
  /// waits for the device, which a recording cannot hold; if it leaves a tensor behind that it allocated; and
  /// again whatever `work` throws.
  explicit Graph(const std::function<void()>& work);
  ~Graph();
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;

  /// Queues the recorded work. Throws Error, having done nothing, if a generator that the work draws from has
  /// another seed than when it was recorded.
  void replay();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace kg
