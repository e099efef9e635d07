// SPDX-License-Identifier: MIT
#include <cuda_runtime.h>

#include <cstddef>
#include <vector>

#include "catch.h"
#include "device_array.h"

// Streams and events: nothing runs before somebody waits for it, and then only what must.

namespace {

struct Stream {
  cudaStream_t handle = nullptr;
  explicit Stream(unsigned flags = cudaStreamNonBlocking) {
    check(cudaStreamCreateWithFlags(&handle, flags));
  }
  ~Stream() { static_cast<void>(cudaStreamDestroy(handle)); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
};

struct Event {
  cudaEvent_t handle = nullptr;
  Event() { check(cudaEventCreate(&handle)); }
  ~Event() { static_cast<void>(cudaEventDestroy(handle)); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
};

/// An int that host and device can reach: where tests see what has run.
class Pinned {
 public:
  Pinned() {
    check(cudaMallocHost(&value_, sizeof(int)));
    *value_ = 0;
  }
  ~Pinned() { static_cast<void>(cudaFreeHost(value_)); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

  int* data() const { return value_; }
  // Without waiting for anything, which TSan would be right to call a race.
  __attribute__((no_sanitize("thread"), noinline)) int now() const { return *value_; }
  __attribute__((no_sanitize("thread"), noinline)) void set_now(int value) { *value_ = value; }

 private:
  int* value_ = nullptr;
};

__global__ void set_kernel(int* target, int value) { *target = value; }
__global__ void append_kernel(int* number, int digit) { *number = *number * 10 + digit; }

void set(const Pinned& target, int value, cudaStream_t stream) {
  launch(set_kernel, {1, 1, 0, stream}, target.data(), value);
}

TEST_CASE("a stream's work runs when somebody waits for it") {
  const Stream stream, other;
  const Pinned a, b;
  set(a, 1, stream.handle);
  set(b, 2, other.handle);
  CHECK(a.now() == 0);
  check(cudaStreamSynchronize(stream.handle));
  CHECK(a.now() == 1);
  CHECK(b.now() == 0);
  check(cudaDeviceSynchronize());
  CHECK(b.now() == 2);
}

TEST_CASE("an event covers what was queued before it") {
  const Stream stream;
  const Event event;
  const Pinned a, b;
  CHECK(cudaEventQuery(event.handle) == cudaSuccess);
  set(a, 1, stream.handle);
  check(cudaEventRecord(event.handle, stream.handle));
  set(b, 2, stream.handle);
  check(cudaEventSynchronize(event.handle));
  CHECK(a.now() == 1);
  CHECK(b.now() == 0);
}

TEST_CASE("a stream can wait for another's event") {
  const Stream first, second;
  const Event event;
  const Pinned number;
  launch(append_kernel, {1, 1, 0, first.handle}, number.data(), 1);
  check(cudaEventRecord(event.handle, first.handle));
  launch(append_kernel, {1, 1, 0, first.handle}, number.data(), 3);
  check(cudaStreamSynchronize(first.handle));
  launch(append_kernel, {1, 1, 0, first.handle}, number.data(), 4);
  check(cudaEventRecord(event.handle, first.handle));
  check(cudaStreamWaitEvent(second.handle, event.handle, 0));
  launch(append_kernel, {1, 1, 0, second.handle}, number.data(), 5);
  check(cudaStreamSynchronize(second.handle));
  CHECK(number.now() == 1345);
}

TEST_CASE("queries say not ready once, and success in the end") {
  const Stream stream;
  const Event event;
  const Pinned a;
  CHECK(cudaStreamQuery(stream.handle) == cudaSuccess);
  set(a, 1, stream.handle);
  check(cudaEventRecord(event.handle, stream.handle));
  CHECK(cudaEventQuery(event.handle) == cudaErrorNotReady);
  CHECK(cudaEventQuery(event.handle) == cudaSuccess);
  CHECK(a.now() == 1);
  set(a, 2, stream.handle);
  CHECK(cudaStreamQuery(stream.handle) == cudaErrorNotReady);
  CHECK(cudaStreamQuery(stream.handle) == cudaSuccess);
  CHECK(a.now() == 2);
  static_cast<void>(cudaGetLastError());
}

TEST_CASE("events measure time") {
  const Stream stream;
  const Event begin, end;
  const Pinned a;
  float milliseconds = -1;
  CHECK(cudaEventElapsedTime(&milliseconds, begin.handle, end.handle) == cudaErrorInvalidResourceHandle);
  check(cudaEventRecord(begin.handle, stream.handle));
  set(a, 1, stream.handle);
  check(cudaEventRecord(end.handle, stream.handle));
  CHECK(cudaEventElapsedTime(&milliseconds, begin.handle, end.handle) == cudaErrorNotReady);
  check(cudaEventSynchronize(end.handle));
  check(cudaEventElapsedTime(&milliseconds, begin.handle, end.handle));
  CHECK(milliseconds > 0);
  static_cast<void>(cudaGetLastError());
}

TEST_CASE("the legacy stream is ordered with blocking streams, and with no others") {
  const Stream blocking(cudaStreamDefault), free;
  const Pinned number, untouched;
  launch(append_kernel, {1, 1, 0, blocking.handle}, number.data(), 1);
  set(untouched, 1, free.handle);
  launch(append_kernel, {1, 1, 0, nullptr}, number.data(), 2);
  launch(append_kernel, {1, 1, 0, blocking.handle}, number.data(), 3);
  launch(append_kernel, {1, 1, 0, nullptr}, number.data(), 4);
  SECTION("waiting for the legacy stream") {
    check(cudaStreamSynchronize(nullptr));
    CHECK(number.now() == 1234);
  }
  SECTION("waiting for the other") {
    check(cudaStreamSynchronize(blocking.handle));
    CHECK(number.now() == 123);
  }
  CHECK(untouched.now() == 0);
}

TEST_CASE("pageable memory is read at the call, written at the synchronisation") {
  const Stream stream;
  const DeviceArray<int> x(1);
  int value = 3, result = 0;
  check(cudaMemcpyAsync(x.data(), &value, sizeof value, cudaMemcpyHostToDevice, stream.handle));
  value = 4;
  check(cudaMemcpyAsync(&result, x.data(), sizeof value, cudaMemcpyDeviceToHost, stream.handle));
  check(cudaStreamSynchronize(stream.handle));
  CHECK(result == 3);
}

TEST_CASE("pinned memory is read when the copy runs") {
  const Stream stream;
  const DeviceArray<int> x(1);
  Pinned source;
  check(cudaMemcpyAsync(x.data(), source.data(), sizeof(int), cudaMemcpyHostToDevice, stream.handle));
  source.set_now(5);
  check(cudaStreamSynchronize(stream.handle));
  CHECK(x.values()[0] == 5);
}

TEST_CASE("memory is allocated and freed in the stream's order") {
  const Stream stream;
  const Pinned result;
  int* memory = nullptr;
  check(cudaMallocAsync(&memory, sizeof(int), stream.handle));
  check(cudaMemsetAsync(memory, 1, sizeof(int), stream.handle));
  check(cudaMemcpyAsync(result.data(), memory, sizeof(int), cudaMemcpyDeviceToHost, stream.handle));
  check(cudaFreeAsync(memory, stream.handle));
  check(cudaStreamSynchronize(stream.handle));
  CHECK(result.now() == 0x01010101);
  CHECK(cudaFreeAsync(result.data(), stream.handle) == cudaErrorInvalidValue);
  static_cast<void>(cudaGetLastError());
}

TEST_CASE("queues do not grow without end") {
  const Stream stream;
  const Pinned a;
  for (int i = 1; i <= 10000; ++i) set(a, i, stream.handle);
  CHECK(a.now() > 0);
  CHECK(a.now() < 10000);
  check(cudaStreamSynchronize(stream.handle));
  CHECK(a.now() == 10000);
}

}  // namespace
