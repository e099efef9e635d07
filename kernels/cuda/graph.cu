// SPDX-License-Identifier: MIT
#include "kernels/graph.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/runtime.h"
#include "kernels/cuda/recording.h"

/// Recording of work as a CUDA graph. Memory that is allocated and released while recording becomes part of
/// the graph: its addresses are fixed at the recording and reserved for as long as the graph lives. A graph
/// that left memory allocated could not be launched twice, and one that released memory from before would
/// find it gone: both are found at the end of the recording.
namespace kg::kernels::cuda {

using namespace kg::cuda;

struct Graph {
  cudaGraph_t recorded = nullptr;
  cudaGraphExec_t executable = nullptr;

  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  ~Graph() {
    if (executable) static_cast<void>(cudaGraphExecDestroy(executable));
    if (recorded) static_cast<void>(cudaGraphDestroy(recorded));
  }
};

namespace {

/// One thread: the counter is a single word.
__global__ void graph_advance_counter_kernel(std::uint64_t* counter, std::uint64_t amount) {
  *counter += amount;
}

/// Who has a turn. A thread that wants to record comes before all that come after it: one that waited for a
/// moment in which nobody has a turn might wait for ever.
struct Turns {
  std::mutex mutex;
  std::condition_variable changed;
  int taken = 0;               ///< by threads that do not record
  bool recording = false;      ///< a thread records, or waits to
  std::vector<void*> put_off;  ///< to be released at the end of the recording
};

/// Never destroyed: tensors of static duration may outlive it.
Turns& turns() {
  static Turns& all = *new Turns;
  return all;
}

/// How many scopes of this thread have a turn; a recording is one.
thread_local int depth = 0;

/// The recording in progress on this thread.
struct Recording {
  bool active = false;
  bool released_others = false;  ///< memory from before it
  std::vector<void*> allocated;  ///< and not released yet
};
thread_local Recording recording;

void take_turn_to_record() {
  std::unique_lock lock(turns().mutex);
  turns().changed.wait(lock, [] { return !turns().recording; });
  turns().recording = true;
  turns().changed.wait(lock, [] { return turns().taken == 0; });
  depth = 1;
  recording.active = true;
}

/// Ends the bookkeeping, releases what was put off, and lets the other threads go on.
Recording finish_recording() noexcept {
  const std::lock_guard lock(turns().mutex);
  Recording finished = std::exchange(recording, {});
  for (void* memory : turns().put_off)
    // Not what another thread released of the recording's own, which went with it.
    if (std::ranges::find(finished.allocated, memory) == finished.allocated.end())
      static_cast<void>(cudaFreeAsync(memory, stream()));
  turns().put_off.clear();
  turns().recording = false;
  turns().changed.notify_all();
  depth = 0;
  return finished;
}

}  // namespace

}  // namespace kg::kernels::cuda

namespace kg::cuda {

using kernels::cuda::depth;
using kernels::cuda::turns;

Turn::Turn() {
  if (depth++ > 0) return;
  std::unique_lock lock(turns().mutex);
  turns().changed.wait(lock, [] { return !turns().recording; });
  ++turns().taken;
}

Turn::~Turn() {
  if (--depth > 0) return;
  const std::lock_guard lock(turns().mutex);
  if (--turns().taken == 0 && turns().recording) turns().changed.notify_all();
}

}  // namespace kg::cuda

namespace kg::kernels::cuda {

void note_allocation(void* memory) {
  if (recording.active) recording.allocated.push_back(memory);
}

void release(void* memory) noexcept {
  const std::lock_guard lock(turns().mutex);  // no recording begins meanwhile
  if (!turns().recording || std::erase(recording.allocated, memory) > 0) {
    // Failure means that the context is broken or, at the program's end, gone; memory goes with it.
    static_cast<void>(cudaFreeAsync(memory, stream()));
    return;
  }
  recording.released_others = recording.active;
  try {
    turns().put_off.push_back(memory);
  } catch (const std::bad_alloc&) {
    // Better lost than a recording with a release that does not belong there.
  }
}

void begin_capture() {
  take_turn_to_record();
  try {
    // Thread-local: what other threads of the program do with CUDA meanwhile, on streams of their own, is
    // their own affair.
    check(cudaStreamBeginCapture(stream(), cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  } catch (...) {
    finish_recording();
    throw;
  }
}

bool is_recording() { return recording.active; }

Graph* end_capture() {
  cudaGraph_t recorded = nullptr;
  const cudaError_t code = cudaStreamEndCapture(stream(), &recorded);
  const Recording finished = finish_recording();
  auto graph = std::make_unique<Graph>();
  graph->recorded = recorded;
  check(code, "cudaStreamEndCapture");
  if (!finished.allocated.empty())
    throw Error(
        "cuda: the work recorded for a graph leaves memory behind that it allocated; tensors that outlive "
        "it must exist before");
  if (finished.released_others)
    throw Error("cuda: the work recorded for a graph releases memory that was allocated before it");
  check(cudaGraphInstantiate(&graph->executable, graph->recorded, 0), "cudaGraphInstantiate");
  return graph.release();
}

void abandon_capture() noexcept {
  cudaGraph_t recorded = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream(), &recorded));
  if (recorded) static_cast<void>(cudaGraphDestroy(recorded));
  static_cast<void>(cudaGetLastError());  // an invalidated capture leaves its error behind
  finish_recording();
}

void launch_graph(Graph& graph) {
  const Turn turn;
  check(cudaGraphLaunch(graph.executable, stream()), "cudaGraphLaunch");
}

void destroy_graph(Graph* graph) noexcept { delete graph; }

void advance_counter(std::uint64_t* counter, std::uint64_t amount) {
  launch<graph_advance_counter_kernel>({.blocks = 1, .threads = 1}, counter, amount);
}

}  // namespace kg::kernels::cuda
