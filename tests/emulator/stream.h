// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "emulator/runtime_api.h"

/// Streams are run late: work waits in its stream's queue until something synchronises with it, so that a
/// synchronisation that is missing is missed. Numbers given out in the order of the calls say which entry
/// comes first where streams wait for one another.
namespace emulator {

using Work = std::function<void()>;
struct Capture;

/// A point in a stream: what an event stands for once it has been recorded.
struct Marker {
  CUstream_st* stream;
  std::uint64_t number;
  bool captured = false;
  bool reached = false;
  std::chrono::steady_clock::time_point time{};
  std::uint64_t sync = 0;
};

struct Entry {
  std::uint64_t number;
  Work work;
  std::shared_ptr<Marker> wait_for;
  std::unique_ptr<std::uint64_t> sync;  ///< TSan: what the host did before it queued this
};

/// Guards everything; held by whoever runs work.
std::recursive_mutex& api_mutex();

/// The stream behind a handle: null is the legacy stream.
CUstream_st& stream_of(cudaStream_t);
const std::vector<CUstream_st*>& all_streams();

/// Queues work, or records it if the stream is being captured.
cudaError_t enqueue(CUstream_st&, Work, std::shared_ptr<Marker> wait_for = nullptr);
inline cudaError_t enqueue(cudaStream_t stream, Work work) {
  return enqueue(stream_of(stream), std::move(work));
}

/// Runs the stream's queue up to the entry of that number, and what that must wait for.
void run_until(CUstream_st&, std::uint64_t number);
/// Runs the stream's queue and tells TSan that the host has waited for it.
void synchronize(CUstream_st&);
void synchronize_all();
/// Notes that the queues will free so much memory when they run; runs them if that is a lot.
void note_pending_free(std::size_t bytes);

}  // namespace emulator

struct CUstream_st {
  bool blocking = true;  ///< ordered with the legacy stream
  std::deque<emulator::Entry> queue;
  std::uint64_t last = 0;  ///< number of the entry queued last
  std::unique_ptr<emulator::Capture> capture;
  void* tsan_thread;
  std::uint64_t sync = 0;

  explicit CUstream_st(bool blocking);
  ~CUstream_st();
};
