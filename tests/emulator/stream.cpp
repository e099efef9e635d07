// SPDX-License-Identifier: MIT
#include "stream.h"

#include <algorithm>

#include "device_memory.h"
#include "error.h"
#include "graph.h"
#include "sanitizers.h"

namespace emulator {

namespace {

/// Queues beyond these limits run without being asked, or the program's memory would grow without end.
constexpr std::size_t max_queued = 4096;
constexpr std::size_t max_pending_free = std::size_t{256} << 20;

struct Streams {
  CUstream_st legacy{true};
  std::vector<CUstream_st*> all{&legacy};
  std::uint64_t next_number = 1;
  std::size_t queued = 0;
  std::size_t pending_free = 0;
};

Streams& streams() {
  static Streams& streams = *new Streams;
  return streams;
}

/// The stream is a thread of its own to TSan: only synchronisation orders what it does with what the host
/// does.
void execute(CUstream_st& stream, Entry entry) {
  void* const caller = current_tsan_thread();
  switch_tsan_thread(stream.tsan_thread);
  acquire(entry.sync.get());
  if (entry.wait_for) acquire(&entry.wait_for->sync);
  if (&stream == &streams().legacy) {
    for (CUstream_st* other : streams().all)
      if (other->blocking) acquire(&other->sync);
  } else if (stream.blocking) {
    acquire(&streams().legacy.sync);
  }
  {
    const Unobserved scope;
    if (entry.work) entry.work();
    entry.work = nullptr;
  }
  release(&stream.sync);
  switch_tsan_thread(caller);
}

void run_everything() {
  for (CUstream_st* stream : streams().all) run_until(*stream, stream->last);
  streams().pending_free = 0;
}

}  // namespace

std::recursive_mutex& api_mutex() {
  // Initialised before any code runs: TSan would not see the order that a first use gives.
  static constinit std::recursive_mutex mutex;
  return mutex;
}

CUstream_st& stream_of(cudaStream_t handle) {
  if (!handle || handle == cudaStreamLegacy) return streams().legacy;
  if (std::find(streams().all.begin(), streams().all.end(), handle) == streams().all.end())
    fail("a stream is used that does not exist");
  return *handle;
}

const std::vector<CUstream_st*>& all_streams() { return streams().all; }

cudaError_t enqueue(CUstream_st& stream, Work work, std::shared_ptr<Marker> wait_for) {
  if (stream.capture) {
    if (stream.capture->invalidated) return cudaErrorStreamCaptureInvalidated;
    stream.capture->body->nodes.push_back(std::move(work));
    return cudaSuccess;
  }
  stream.last = streams().next_number++;
  Entry& entry = stream.queue.emplace_back(Entry{stream.last, std::move(work), std::move(wait_for), nullptr});
  if (with_tsan) {
    entry.sync = std::make_unique<std::uint64_t>();
    release(entry.sync.get());
  }
  if (++streams().queued > max_queued) run_everything();
  return cudaSuccess;
}

void run_until(CUstream_st& stream, std::uint64_t number) {
  if (stream.queue.empty() || stream.queue.front().number > number) return;
  const DeviceAccess access;
  while (!stream.queue.empty() && stream.queue.front().number <= number) {
    // What this entry waits for has smaller numbers, so that this ends.
    const Entry& next = stream.queue.front();
    if (next.wait_for && !next.wait_for->reached) run_until(*next.wait_for->stream, next.wait_for->number);
    if (&stream == &streams().legacy) {
      for (CUstream_st* other : streams().all)
        if (other != &stream && other->blocking) run_until(*other, next.number);
    } else if (stream.blocking) {
      run_until(streams().legacy, next.number);
    }
    Entry entry = std::move(stream.queue.front());
    stream.queue.pop_front();
    --streams().queued;
    execute(stream, std::move(entry));
  }
}

void synchronize(CUstream_st& stream) {
  // Even an empty queue of the legacy stream stands behind those of the streams that it is ordered with.
  if (&stream == &streams().legacy)
    for (CUstream_st* other : streams().all)
      if (other != &stream && other->blocking) synchronize(*other);
  run_until(stream, stream.last);
  acquire(&stream.sync);
}

void synchronize_all() {
  for (CUstream_st* stream : streams().all) synchronize(*stream);
  streams().pending_free = 0;
}

void note_pending_free(std::size_t bytes) {
  streams().pending_free += bytes;
  if (streams().pending_free > max_pending_free) run_everything();
}

}  // namespace emulator

using namespace emulator;

// TSan's thread begins here, not with the first work: it takes what its creator did before for done.
CUstream_st::CUstream_st(bool blocking) : blocking(blocking), tsan_thread(new_tsan_thread()) {}

CUstream_st::~CUstream_st() { delete_tsan_thread(tsan_thread); }

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  const std::lock_guard lock(api_mutex());
  *stream = new CUstream_st(flags != cudaStreamNonBlocking);
  streams().all.push_back(*stream);
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  const std::lock_guard lock(api_mutex());
  CUstream_st& stream = stream_of(handle);
  run_until(stream, stream.last);
  std::erase(streams().all, &stream);
  delete &stream;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  const std::lock_guard lock(api_mutex());
  CUstream_st& stream = stream_of(handle);
  if (const cudaError_t error = forbid_in_capture(stream); error != cudaSuccess) return note(error);
  synchronize(stream);
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  const std::lock_guard lock(api_mutex());
  if (const cudaError_t error = forbid_in_captures(); error != cudaSuccess) return note(error);
  const DeviceAccess access;
  synchronize_all();
  device_memory().check_all_red_zones();
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  const std::lock_guard lock(api_mutex());
  CUstream_st& stream = stream_of(handle);
  if (const cudaError_t error = forbid_in_capture(stream); error != cudaSuccess) return note(error);
  // Not ready the first time, or a program that does not wait would not be found out; ready the next time.
  const bool ready = stream.queue.empty();
  synchronize(stream);
  return ready ? cudaSuccess : note(cudaErrorNotReady);
}
