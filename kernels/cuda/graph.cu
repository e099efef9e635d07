#include "kernels/graph.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "kernels/cuda/common/check.h"
#include "kernels/cuda/common/launch.h"
#include "kernels/cuda/recording.h"

/// Recording of work as a CUDA graph. Memory that is allocated and released while recording becomes part of
/// the graph: its addresses are fixed at the recording and reserved for as long as the graph lives. A graph
/// that left memory allocated could not be launched twice, and one that released memory from before would
/// find it gone: both are found at the end of the recording.
namespace kg::kernels::cuda {

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

/// The recording in progress on this thread.
struct Recording {
  bool active = false;
  std::vector<void*> allocated;  ///< and not released yet
  std::vector<void*> foreign;    ///< released, but from before the recording
};
thread_local Recording recording;

/// What failed recordings left allocated: the memory went with the recording, its owners do not know yet.
thread_local std::vector<void*> lost;

/// Ends the bookkeeping; the memory that could not be released meanwhile is.
Recording finish_recording(Stream stream) {
  Recording finished = std::exchange(recording, {});
  for (void* memory : finished.foreign) static_cast<void>(cudaFreeAsync(memory, stream_of(stream)));
  lost.insert(lost.end(), finished.allocated.begin(), finished.allocated.end());
  return finished;
}

}  // namespace

void note_allocation(void* memory) {
  std::erase(lost, memory);
  if (recording.active) recording.allocated.push_back(memory);
}

bool note_release(void* memory) noexcept {
  if (std::erase(lost, memory) > 0) return false;
  if (!recording.active || std::erase(recording.allocated, memory) > 0) return true;
  recording.foreign.push_back(memory);
  return false;
}

void begin_capture(Stream stream) {
  // Thread-local: what other threads of the program do with CUDA meanwhile, on streams of their own, is their
  // own affair.
  check(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
  recording.active = true;
}

bool is_recording(Stream stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream_of(stream), &status), "cudaStreamIsCapturing");
  return status != cudaStreamCaptureStatusNone;
}

Graph* end_capture(Stream stream) {
  auto graph = std::make_unique<Graph>();
  const cudaError_t code = cudaStreamEndCapture(stream_of(stream), &graph->recorded);
  const Recording finished = finish_recording(stream);
  check(code, "cudaStreamEndCapture");
  if (!finished.allocated.empty())
    throw Error(
        "cuda: the work recorded for a graph leaves memory behind that it allocated; tensors that outlive "
        "it must exist before");
  if (!finished.foreign.empty())
    throw Error("cuda: the work recorded for a graph releases memory that was allocated before it");
  check(cudaGraphInstantiate(&graph->executable, graph->recorded, 0), "cudaGraphInstantiate");
  return graph.release();
}

void abandon_capture(Stream stream) noexcept {
  cudaGraph_t recorded = nullptr;
  static_cast<void>(cudaStreamEndCapture(stream_of(stream), &recorded));
  if (recorded) static_cast<void>(cudaGraphDestroy(recorded));
  static_cast<void>(cudaGetLastError());  // an invalidated capture leaves its error behind
  finish_recording(stream);
}

void launch_graph(Graph& graph, Stream stream) {
  check(cudaGraphLaunch(graph.executable, stream_of(stream)), "cudaGraphLaunch");
}

void destroy_graph(Graph* graph) noexcept { delete graph; }

void advance_counter(std::uint64_t* counter, std::uint64_t amount, Stream stream) {
  launch<graph_advance_counter_kernel>({.blocks = 1, .threads = 1}, stream, counter, amount);
}

}  // namespace kg::kernels::cuda
