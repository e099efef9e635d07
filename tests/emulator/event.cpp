// SPDX-License-Identifier: MIT
#include <chrono>
#include <memory>
#include <mutex>

#include "error.h"
#include "graph.h"
#include "sanitizers.h"
#include "stream.h"

/// Events: names for points in streams.

using namespace emulator;

struct CUevent_st {
  bool timing;
  std::shared_ptr<Marker> marker;  ///< none before the first recording
};

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{(flags & cudaEventDisableTiming) == 0, nullptr};
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const std::lock_guard lock(api_mutex());
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
  const std::lock_guard lock(api_mutex());
  CUstream_st& stream = stream_of(handle);
  const auto marker =
      std::make_shared<Marker>(Marker{.stream = &stream, .number = 0, .captured = stream.capture != nullptr});
  event->marker = marker;
  if (marker->captured) return cudaSuccess;
  const cudaError_t error = enqueue(stream, [marker] {
    marker->reached = true;
    marker->time = std::chrono::steady_clock::now();
    release(&marker->sync);
  });
  marker->number = stream.last;
  return note(error);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const std::lock_guard lock(api_mutex());
  if (!event->marker) return cudaSuccess;
  Marker& marker = *event->marker;
  if (marker.captured) return note(cudaErrorCapturedEvent);
  if (!marker.reached) run_until(*marker.stream, marker.number);
  acquire(&marker.sync);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  const std::lock_guard lock(api_mutex());
  // As for streams: not ready the first time, ready the next.
  const bool ready = !event->marker || event->marker->reached;
  if (const cudaError_t error = cudaEventSynchronize(event); error != cudaSuccess) return error;
  return ready ? cudaSuccess : note(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const std::lock_guard lock(api_mutex());
  if (!begin->marker || !end->marker || !begin->timing || !end->timing)
    return note(cudaErrorInvalidResourceHandle);
  if (!begin->marker->reached || !end->marker->reached) return note(cudaErrorNotReady);
  *milliseconds = std::chrono::duration<float, std::milli>(end->marker->time - begin->marker->time).count();
  return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  const std::lock_guard lock(api_mutex());
  CUstream_st& stream = stream_of(handle);
  if (!event->marker) return cudaSuccess;
  if (stream.capture || event->marker->captured) {
    // Within one captured stream nothing needs to wait. Captures that spread to other streams are not
    // emulated.
    if (stream.capture && event->marker->captured && event->marker->stream == &stream) return cudaSuccess;
    if (stream.capture) stream.capture->invalidated = true;
    return note(cudaErrorStreamCaptureIsolation);
  }
  return note(enqueue(stream, nullptr, event->marker));
}
