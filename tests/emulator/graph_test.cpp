// SPDX-License-Identifier: MIT
#include <cuda_runtime.h>

#include <vector>

#include "catch.h"
#include "device_array.h"

// Captures and graphs.

namespace {

__global__ void fill_kernel(int count, int value, int* y) {
  if (static_cast<int>(threadIdx.x) < count) y[threadIdx.x] = value;
}
__global__ void add_kernel(int count, const int* x, int* y) {
  if (static_cast<int>(threadIdx.x) < count) y[threadIdx.x] += x[threadIdx.x];
}

constexpr int count = 20;

/// A stream, and what was captured from it.
class Recording {
 public:
  Recording() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~Recording() {
    destroy();
    static_cast<void>(cudaStreamDestroy(stream_));
  }
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

  cudaStream_t stream() const { return stream_; }
  void begin(cudaStreamCaptureMode mode = cudaStreamCaptureModeThreadLocal) {
    check(cudaStreamBeginCapture(stream_, mode));
  }
  cudaError_t end(unsigned long long flags = 0) {
    const cudaError_t error = cudaStreamEndCapture(stream_, &graph_);
    return error == cudaSuccess ? cudaGraphInstantiate(&executable_, graph_, flags) : error;
  }
  cudaError_t replay() { return cudaGraphLaunch(executable_, stream_); }
  void wait() { check(cudaStreamSynchronize(stream_)); }
  void destroy() {
    if (executable_) check(cudaGraphExecDestroy(executable_));
    if (graph_) check(cudaGraphDestroy(graph_));
    executable_ = nullptr;
    graph_ = nullptr;
  }
  cudaStreamCaptureStatus status() const {
    cudaStreamCaptureStatus status{};
    check(cudaStreamIsCapturing(stream_, &status));
    return status;
  }
  void fill(int value, int* y) { launch(fill_kernel, {1, 32, 0, stream_}, count, value, y); }
  void add(const int* x, int* y) { launch(add_kernel, {1, 32, 0, stream_}, count, x, y); }

 private:
  cudaStream_t stream_ = nullptr;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
};

TEST_CASE("captured work runs at every replay, and not before") {
  Recording recording;
  const DeviceArray<int> x(std::vector<int>(count, 3)), y(std::vector<int>(count, 0));
  CHECK(recording.status() == cudaStreamCaptureStatusNone);
  recording.begin();
  CHECK(recording.status() == cudaStreamCaptureStatusActive);
  recording.add(x.data(), y.data());
  check(recording.end());
  CHECK(recording.status() == cudaStreamCaptureStatusNone);
  recording.wait();
  CHECK(y.values() == std::vector<int>(count, 0));
  check(recording.replay());
  check(recording.replay());
  recording.wait();
  CHECK(y.values() == std::vector<int>(count, 6));
}

TEST_CASE("a graph that is destroyed still runs where it was queued") {
  Recording recording;
  const DeviceArray<int> y(std::vector<int>(count, 0));
  recording.begin();
  recording.fill(5, y.data());
  check(recording.end());
  check(recording.replay());
  recording.destroy();
  recording.wait();
  CHECK(y.values() == std::vector<int>(count, 5));
}

TEST_CASE("memory allocated and freed while capturing belongs to the graph") {
  Recording recording;
  const DeviceArray<int> y(std::vector<int>(count, 0));
  recording.begin();
  int* x = nullptr;
  check(cudaMallocAsync(&x, count * sizeof(int), recording.stream()));
  recording.fill(7, x);
  recording.add(x, y.data());
  check(cudaFreeAsync(x, recording.stream()));
  check(recording.end());
  for (int i = 1; i <= 3; ++i) {
    check(recording.replay());
    recording.wait();
    CHECK(y.values() == std::vector<int>(count, 7 * i));
  }
  // Nobody else gets the address meanwhile.
  for (int i = 0; i < 50; ++i) CHECK(DeviceArray<int>(count).data() != x);
}

TEST_CASE("memory that a replay leaves allocated must be freed before the next") {
  Recording recording;
  recording.begin();
  int* x = nullptr;
  check(cudaMallocAsync(&x, count * sizeof(int), recording.stream()));
  recording.fill(7, x);
  SECTION("by the program") {
    check(recording.end());
    for (int i = 0; i < 2; ++i) {
      check(recording.replay());
      CHECK(recording.replay() == cudaErrorInvalidValue);
      std::vector<int> values(count);
      check(
          cudaMemcpyAsync(values.data(), x, count * sizeof(int), cudaMemcpyDeviceToHost, recording.stream()));
      check(cudaFreeAsync(x, recording.stream()));
      recording.wait();
      CHECK(values == std::vector<int>(count, 7));
    }
  }
  SECTION("by the graph, if that was asked for") {
    check(recording.end(cudaGraphInstantiateFlagAutoFreeOnLaunch));
    check(recording.replay());
    check(recording.replay());
    check(cudaFreeAsync(x, recording.stream()));
    recording.wait();
  }
  SECTION("or else stays when the graph goes") {
    check(recording.end());
    check(recording.replay());
    recording.wait();
    recording.destroy();
    std::vector<int> values(count);
    check(cudaMemcpy(values.data(), x, count * sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(values == std::vector<int>(count, 7));
    check(cudaFree(x));
  }
  static_cast<void>(cudaGetLastError());
}

TEST_CASE("what cannot be captured invalidates the capture") {
  Recording recording;
  const DeviceArray<int> x(count);
  const std::vector<int> host(count);
  void* memory = nullptr;
  cudaError_t error = cudaSuccess, expected = cudaErrorStreamCaptureUnsupported;
  recording.begin();
  SECTION("waiting for the stream") { error = cudaStreamSynchronize(recording.stream()); }
  SECTION("asking for the stream's state") { error = cudaStreamQuery(recording.stream()); }
  SECTION("waiting for the device") { error = cudaDeviceSynchronize(); }
  SECTION("cudaMalloc") { error = cudaMalloc(&memory, 4); }
  SECTION("cudaMemcpy") {
    error = cudaMemcpy(x.data(), host.data(), count * sizeof(int), cudaMemcpyHostToDevice);
  }
  SECTION("a copy from pageable memory") {
    error = cudaMemcpyAsync(x.data(), host.data(), count * sizeof(int), cudaMemcpyHostToDevice,
                            recording.stream());
  }
  SECTION("freeing memory from outside") {
    error = cudaFreeAsync(x.data(), recording.stream());
    expected = cudaErrorInvalidValue;
  }
  CHECK(error == expected);
  CHECK(recording.status() == cudaStreamCaptureStatusInvalidated);
  CHECK(cudaMemsetAsync(x.data(), 0, 4, recording.stream()) == cudaErrorStreamCaptureInvalidated);
  CHECK(recording.end() == cudaErrorStreamCaptureInvalidated);
  CHECK(recording.status() == cudaStreamCaptureStatusNone);
  recording.fill(1, x.data());
  recording.wait();
  CHECK(x.values() == std::vector<int>(count, 1));
  static_cast<void>(cudaGetLastError());
}

TEST_CASE("a capture leaves other streams alone") {
  Recording recording, other;
  const DeviceArray<int> x(count), y(count);
  recording.begin();
  recording.fill(1, x.data());
  other.fill(2, y.data());
  other.wait();
  CHECK(recording.status() == cudaStreamCaptureStatusActive);
  check(recording.end());
  CHECK(y.values() == std::vector<int>(count, 2));
}

TEST_CASE("captures begin and end in pairs, and not on the legacy stream") {
  Recording recording;
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(recording.stream(), &graph) == cudaErrorIllegalState);
  recording.begin();
  CHECK(cudaStreamBeginCapture(recording.stream(), cudaStreamCaptureModeThreadLocal) ==
        cudaErrorIllegalState);
  check(recording.end());
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeThreadLocal) ==
        cudaErrorStreamCaptureUnsupported);
  static_cast<void>(cudaGetLastError());
}

TEST_CASE("events of a capture cannot be waited for outside") {
  Recording recording, other;
  cudaEvent_t event = nullptr;
  check(cudaEventCreate(&event));
  recording.begin();
  check(cudaEventRecord(event, recording.stream()));
  check(cudaStreamWaitEvent(recording.stream(), event, 0));
  CHECK(cudaEventSynchronize(event) == cudaErrorCapturedEvent);
  CHECK(cudaStreamWaitEvent(other.stream(), event, 0) == cudaErrorStreamCaptureIsolation);
  check(recording.end());
  check(cudaEventDestroy(event));
  static_cast<void>(cudaGetLastError());
}

}  // namespace
