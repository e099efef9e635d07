// SPDX-License-Identifier: MIT
#include "library_call.h"

#include <algorithm>
#include <memory>

#include "device_memory.h"
#include "error.h"
#include "graph.h"
#include "sanitizers.h"
#include "stream.h"

namespace emulator {

namespace {

std::string describe(const DeviceRange& range) {
  return std::string("argument ") + range.argument + ", " + std::to_string(range.bytes) + " bytes at " +
         text(range.memory) + ", ";
}

/// Fails unless the bytes lie within one allocation. Returns it.
const Allocation& check_range(const char* function, const DeviceRange& range) {
  if (!device_memory().contains(range.memory))
    library_fault(function, describe(range) + "points to host memory");
  const Allocation* const allocation = device_memory().find(range.memory);
  if (!allocation) library_fault(function, describe(range) + "points to device memory that is not allocated");
  const auto* const begin = static_cast<const std::byte*>(range.memory);
  const std::size_t offset = static_cast<std::size_t>(begin - allocation->memory);
  if (offset > allocation->bytes || range.bytes > allocation->bytes - offset)
    library_fault(function, describe(range) + "reaches beyond the end of an allocation of " +
                                std::to_string(allocation->bytes) + " bytes");
  return *allocation;
}

void check_at_call(const char* function, const DeviceRange& range) {
  const Allocation& allocation = check_range(function, range);
  // Memory of a graph comes back with its replay, which may be queued.
  if (allocation.state == Allocation::State::freed && !belongs_to_graph(allocation))
    library_fault(function, describe(range) + "points to device memory that has been freed");
}

void check_at_run(const char* function, const DeviceRange& range) {
  if (check_range(function, range).state != Allocation::State::live)
    library_fault(function, describe(range) + "is not allocated when the work runs");
}

void tell_tsan(const DeviceRange& range) {
  const Observed scope;
  (range.written ? note_write : note_read)(range.memory, range.bytes);
}

void run(const LibraryCall& call) {
  for (const DeviceRange& range : call.ranges) {
    check_at_run(call.function, range);
    tell_tsan(range);
  }
  call.work();
}

}  // namespace

bool enqueue_library_call(LibraryCall call) {
  const std::lock_guard lock(api_mutex());
  for (const DeviceRange& range : call.ranges) check_at_call(call.function, range);
  check_stream(call.function, call.stream);
  CUstream_st* const stream = call.stream;
  const auto shared = std::make_shared<const LibraryCall>(std::move(call));
  return note(enqueue(stream, [shared] { run(*shared); })) == cudaSuccess;
}

void check_stream(const char* function, CUstream_st* stream) {
  const std::lock_guard lock(api_mutex());
  const auto& streams = all_streams();
  if (stream && stream != cudaStreamLegacy &&
      std::find(streams.begin(), streams.end(), stream) == streams.end())
    library_fault(function, "its stream does not exist");
}

void check_host_scalar(const char* function, const char* argument, const void* scalar) {
  if (device_memory().contains(scalar))
    library_fault(function,
                  std::string("argument ") + argument + " is a scalar in device memory, " + text(scalar));
}

void check_no_capture(const char* function) {
  const std::lock_guard lock(api_mutex());
  if (forbid_in_captures() != cudaSuccess)
    library_fault(function, "allocates memory or synchronises, which the capture of a stream forbids");
}

void library_fault(const char* function, const std::string& message) {
  fail(std::string(function) + ": " + message);
}

}  // namespace emulator
