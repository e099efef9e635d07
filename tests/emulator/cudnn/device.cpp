// SPDX-License-Identifier: MIT
#include "device.h"

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

namespace device {

namespace {

void check(cudaError_t error) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "CUDA: %s\n", cudaGetErrorName(error));
  std::exit(1);
}

}  // namespace

void* allocate(std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes));
  return memory;
}

void* allocate_on(CUstream_st* stream, std::size_t bytes) {
  void* memory = nullptr;
  check(cudaMallocAsync(&memory, bytes, stream));
  return memory;
}

void release(void* memory) { check(cudaFree(memory)); }
void release_on(CUstream_st* stream, void* memory) { check(cudaFreeAsync(memory, stream)); }

void upload(void* to, const void* from, std::size_t bytes) {
  check(cudaDeviceSynchronize());
  check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice));
}

void download(void* to, const void* from, std::size_t bytes) {
  check(cudaDeviceSynchronize());
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
}

CUstream_st* create_stream() {
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return stream;
}

void destroy_stream(CUstream_st* stream) { check(cudaStreamDestroy(stream)); }
void wait_for(CUstream_st* stream) { check(cudaStreamSynchronize(stream)); }

void begin_capture(CUstream_st* stream) {
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
}

Graph::Graph(CUstream_st* captured) {
  cudaGraph_t graph = nullptr;
  check(cudaStreamEndCapture(captured, &graph));
  cudaGraphExec_t executable = nullptr;
  check(cudaGraphInstantiate(&executable, graph, 0));
  check(cudaGraphDestroy(graph));
  executable_ = executable;
}

Graph::~Graph() { check(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_))); }

void Graph::replay(CUstream_st* stream) const {
  check(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), stream));
}

}  // namespace device
