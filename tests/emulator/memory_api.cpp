// SPDX-License-Identifier: MIT
#include "memory_api.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "device_memory.h"
#include "error.h"
#include "graph.h"
#include "sanitizers.h"
#include "stream.h"

/// CUDA's functions for memory: allocations, copies, fills.
namespace emulator {

namespace {

/// Pinned host memory, by address.
std::map<const void*, std::size_t>& pinned() {
  static auto& blocks = *new std::map<const void*, std::size_t>;
  return blocks;
}

/// Fails unless the bytes lie in one allocation that exists now, when the copy runs.
void check_device_range(const char* what, const void* memory, std::size_t bytes) {
  const Allocation* const allocation = device_memory().find(memory);
  if (!allocation || allocation->state != Allocation::State::live)
    fail(std::string(what) + " at " + text(memory) + " is not allocated when the copy runs");
  const auto* const begin = static_cast<const std::byte*>(memory);
  if (begin + bytes > allocation->memory + allocation->bytes)
    fail(std::string(what) + ", " + std::to_string(bytes) + " bytes at " + text(memory) +
         ", reaches beyond the end of an allocation of " + std::to_string(allocation->bytes) + " bytes");
}

bool is_to_device(cudaMemcpyKind kind) {
  return kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
}
bool is_from_device(cudaMemcpyKind kind) {
  return kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
}

cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  const bool to_device = device_memory().contains(to), from_device = device_memory().contains(from);
  if (kind != cudaMemcpyDefault && (to_device != is_to_device(kind) || from_device != is_from_device(kind)))
    return cudaErrorInvalidValue;
  if (bytes == 0) return cudaSuccess;
  // Pageable host memory has been read when the call returns, by way of a staging buffer: nothing for a
  // graph.
  std::shared_ptr<std::byte[]> staged;
  if (!from_device && !is_pinned(from)) {
    if (const cudaError_t error = forbid_in_capture(stream_of(stream)); error != cudaSuccess) return error;
    // TSan does not see the count of owners that orders the copy before the end.
    staged = std::shared_ptr<std::byte[]>(new std::byte[bytes], [](const std::byte* buffer) {
      const Unobserved scope;
      delete[] buffer;
    });
    std::memcpy(staged.get(), from, bytes);
  }
  return enqueue(stream, [=] {
    if (to_device) check_device_range("the destination of a copy", to, bytes);
    if (from_device) check_device_range("the source of a copy", from, bytes);
    const Observed scope;
    std::memmove(to, staged ? staged.get() : from, bytes);
  });
}

cudaError_t set(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!device_memory().contains(memory)) return cudaErrorInvalidValue;
  return enqueue(stream, [=] {
    check_device_range("the destination of cudaMemset", memory, bytes);
    const Observed scope;
    std::memset(memory, value, bytes);
  });
}

/// The allocation that begins at this address, nullptr if there is none.
Allocation* allocation_at(const void* memory) {
  Allocation* const allocation = device_memory().find(memory);
  return allocation && allocation->memory == memory ? allocation : nullptr;
}

/// Ends the allocation when the stream gets there.
Work freeing(Allocation* allocation) {
  const bool recycle = !belongs_to_graph(*allocation);
  return [allocation, recycle] {
    device_memory().end(*allocation);
    if (recycle) device_memory().recycle(*allocation);
  };
}

}  // namespace

bool is_pinned(const void* address) {
  const auto next = pinned().upper_bound(address);
  if (next == pinned().begin()) return false;
  const auto& [memory, bytes] = *std::prev(next);
  return address < static_cast<const std::byte*>(memory) + bytes;
}

}  // namespace emulator

using namespace emulator;

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const std::lock_guard lock(api_mutex());
  *memory = nullptr;
  if (const cudaError_t error = forbid_in_captures(); error != cudaSuccess) return note(error);
  if (bytes == 0) return cudaSuccess;
  Allocation* const allocation = device_memory().reserve(bytes);
  if (!allocation) return note(cudaErrorMemoryAllocation);
  const DeviceAccess access;
  device_memory().begin(*allocation);
  *memory = allocation->memory;
  return cudaSuccess;
}

cudaError_t cudaFree(void* memory) {
  const std::lock_guard lock(api_mutex());
  if (const cudaError_t error = forbid_in_captures(); error != cudaSuccess) return note(error);
  if (!memory) return cudaSuccess;
  Allocation* const allocation = allocation_at(memory);
  if (!allocation) return note(cudaErrorInvalidValue);
  const DeviceAccess access;
  synchronize_all();
  freeing(allocation)();
  return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** memory, std::size_t bytes, cudaStream_t handle) {
  const std::lock_guard lock(api_mutex());
  *memory = nullptr;
  CUstream_st& stream = stream_of(handle);
  if (stream.capture && stream.capture->invalidated) return note(cudaErrorStreamCaptureInvalidated);
  if (bytes == 0) return note(cudaErrorInvalidValue);
  Allocation* const allocation = device_memory().reserve(bytes);
  if (!allocation) return note(cudaErrorMemoryAllocation);
  if (stream.capture) stream.capture->body->add_memory(*allocation);
  *memory = allocation->memory;
  return note(enqueue(stream, [allocation] { device_memory().begin(*allocation); }));
}

cudaError_t cudaFreeAsync(void* memory, cudaStream_t handle) {
  const std::lock_guard lock(api_mutex());
  if (!memory) return cudaSuccess;
  CUstream_st& stream = stream_of(handle);
  Allocation* const allocation = allocation_at(memory);
  if (!allocation) return note(cudaErrorInvalidValue);
  if (stream.capture) {
    // A graph can only free what it has allocated.
    if (allocation->graph != stream.capture->body.get()) {
      stream.capture->invalidated = true;
      return note(cudaErrorInvalidValue);
    }
    stream.capture->body->note_freed_inside(*allocation);
    return note(enqueue(stream, freeing(allocation)));
  }
  if (allocation->graph) allocation->graph->note_freed_outside(*allocation);
  const cudaError_t error = enqueue(stream, freeing(allocation));
  note_pending_free(allocation->bytes);
  return note(error);
}

cudaError_t cudaMallocHost(void** memory, std::size_t bytes, unsigned) {
  const std::lock_guard lock(api_mutex());
  *memory = std::malloc(bytes > 0 ? bytes : 1);
  if (!*memory) return note(cudaErrorMemoryAllocation);
  pinned()[*memory] = bytes;
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** memory, std::size_t bytes, unsigned flags) {
  return cudaMallocHost(memory, bytes, flags);
}

cudaError_t cudaFreeHost(void* memory) {
  const std::lock_guard lock(api_mutex());
  if (!memory) return cudaSuccess;
  if (!pinned().contains(memory)) return note(cudaErrorInvalidValue);
  synchronize_all();  // as CUDA does
  pinned().erase(memory);
  std::free(memory);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::lock_guard lock(api_mutex());
  *total = DeviceMemory::capacity;
  *free = *total - device_memory().used();
  return cudaSuccess;
}

// There is one pool and it keeps everything, whatever its attributes say.
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  if (device != 0) return note(cudaErrorInvalidDevice);
  *pool = reinterpret_cast<cudaMemPool_t>(1);
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t, cudaMemPoolAttr attribute, void* value) {
  const std::lock_guard lock(api_mutex());
  *static_cast<std::uint64_t*>(value) =
      attribute == cudaMemPoolAttrReleaseThreshold ? UINT64_MAX : device_memory().used();
  return cudaSuccess;
}
cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, std::size_t) { return cudaSuccess; }

cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  const std::lock_guard lock(api_mutex());
  return note(copy(to, from, bytes, kind, stream));
}

cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  const std::lock_guard lock(api_mutex());
  if (const cudaError_t error = forbid_in_captures(); error != cudaSuccess) return note(error);
  const cudaError_t error = copy(to, from, bytes, kind, cudaStreamLegacy);
  synchronize(stream_of(cudaStreamLegacy));
  return note(error);
}

cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
  const std::lock_guard lock(api_mutex());
  return note(set(memory, value, bytes, stream));
}

cudaError_t cudaMemset(void* memory, int value, std::size_t bytes) {
  const std::lock_guard lock(api_mutex());
  if (const cudaError_t error = forbid_in_captures(); error != cudaSuccess) return note(error);
  return note(set(memory, value, bytes, cudaStreamLegacy));
}
