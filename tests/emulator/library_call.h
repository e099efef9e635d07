// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

struct CUstream_st;

/// For stand-ins of libraries that run on the device: what they need of the emulator, without CUDA's types,
/// because they are compiled with the toolkit's headers.
namespace emulator {

/// Device memory that a library's function was given.
struct DeviceRange {
  const char* argument;  ///< its name, for messages
  const void* memory;
  std::size_t bytes;
  bool written;  ///< else it is only read
};

struct LibraryCall {
  const char* function;  ///< its name, for messages
  CUstream_st* stream;   ///< nullptr is the legacy stream
  std::vector<DeviceRange> ranges;
  /// May access the ranges, which is all that TSan is told of it: it runs on the stack of whoever waits for
  /// the stream, as another of TSan's threads, and must not be instrumented. Once for every replay of a
  /// capture.
  std::function<void()> work;
};

/// Queues the work as a launch of a kernel would be. Fails if a range is not device memory now, or does not
/// lie in one allocation that exists when the work runs. False if the stream's capture has been invalidated.
[[nodiscard]] bool enqueue_library_call(LibraryCall);

/// Fails unless such a stream exists.
void check_stream(const char* function, CUstream_st*);
/// Fails if the scalar lies in device memory, where a library would read it in host code.
void check_host_scalar(const char* function, const char* argument, const void*);
/// For functions that allocate memory or synchronise: fails if a capture that forbids this goes on.
void check_no_capture(const char* function);
/// Prints "emulator: <function>: <message>" and aborts.
[[noreturn]] void library_fault(const char* function, const std::string& message);

}  // namespace emulator
