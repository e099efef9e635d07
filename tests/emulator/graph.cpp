// SPDX-License-Identifier: MIT
#include "graph.h"

#include <utility>

#include "error.h"

namespace emulator {

GraphBody::~GraphBody() {
  for (const Memory& memory : memory_) {
    memory.allocation->graph = nullptr;
    // What a replay left allocated is the program's now.
    if (memory.outstanding) continue;
    device_memory().recycle(*memory.allocation);
  }
}

void GraphBody::add_memory(Allocation& allocation) {
  allocation.graph = this;
  memory_.push_back({&allocation});
}

GraphBody::Memory& GraphBody::find(const Allocation& allocation) {
  for (Memory& memory : memory_)
    if (memory.allocation == &allocation) return memory;
  fail("an allocation is missing in its graph");
}

void GraphBody::note_freed_inside(Allocation& allocation) { find(allocation).freed_inside = true; }
void GraphBody::note_freed_outside(Allocation& allocation) { find(allocation).outstanding = false; }

cudaError_t GraphBody::begin_replay(bool free_on_launch, CUstream_st& stream) {
  for (Memory& memory : memory_) {
    if (memory.freed_inside) continue;
    if (memory.outstanding && !free_on_launch) return cudaErrorInvalidValue;
    if (memory.outstanding)
      enqueue(stream, [allocation = memory.allocation] { device_memory().end(*allocation); });
    memory.outstanding = true;
  }
  return cudaSuccess;
}

void GraphBody::replay() const {
  for (const Work& node : nodes) node();
}

cudaError_t forbid_in_capture(CUstream_st& stream) {
  if (!stream.capture) return cudaSuccess;
  if (stream.capture->invalidated) return cudaErrorStreamCaptureInvalidated;
  stream.capture->invalidated = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t forbid_in_captures() {
  cudaError_t result = cudaSuccess;
  for (CUstream_st* stream : all_streams()) {
    if (!stream->capture) continue;
    const Capture& capture = *stream->capture;
    if (capture.mode == cudaStreamCaptureModeGlobal ||
        (capture.mode == cudaStreamCaptureModeThreadLocal && capture.thread == std::this_thread::get_id()))
      result = forbid_in_capture(*stream);
  }
  return result;
}

}  // namespace emulator

using namespace emulator;

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  const std::lock_guard lock(api_mutex());
  CUstream_st& stream = stream_of(handle);
  if (&stream == &stream_of(cudaStreamLegacy)) return note(cudaErrorStreamCaptureUnsupported);
  if (stream.capture) return note(cudaErrorIllegalState);
  stream.capture = std::make_unique<Capture>(Capture{.thread = std::this_thread::get_id(), .mode = mode});
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  const std::lock_guard lock(api_mutex());
  CUstream_st& stream = stream_of(handle);
  *graph = nullptr;
  if (!stream.capture) return note(cudaErrorIllegalState);
  if (stream.capture->thread != std::this_thread::get_id() &&
      stream.capture->mode != cudaStreamCaptureModeRelaxed)
    return note(cudaErrorStreamCaptureWrongThread);
  const std::unique_ptr<Capture> capture = std::move(stream.capture);
  if (capture->invalidated) return note(cudaErrorStreamCaptureInvalidated);
  *graph = new CUgraph_st{capture->body};
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  const std::lock_guard lock(api_mutex());
  const auto& capture = stream_of(handle).capture;
  *status = !capture               ? cudaStreamCaptureStatusNone
            : capture->invalidated ? cudaStreamCaptureStatusInvalidated
                                   : cudaStreamCaptureStatusActive;
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long flags) {
  const std::lock_guard lock(api_mutex());
  *executable = new CUgraphExec_st{graph->body, (flags & cudaGraphInstantiateFlagAutoFreeOnLaunch) != 0};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t handle) {
  const std::lock_guard lock(api_mutex());
  CUstream_st& stream = stream_of(handle);
  if (stream.capture) return note(forbid_in_capture(stream));  // graphs within graphs are not emulated
  const cudaError_t error = executable->body->begin_replay(executable->free_on_launch, stream);
  if (error != cudaSuccess) return note(error);
  return note(enqueue(stream, [body = executable->body] { body->replay(); }));
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  const std::lock_guard lock(api_mutex());
  delete graph;
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  const std::lock_guard lock(api_mutex());
  delete executable;
  return cudaSuccess;
}
