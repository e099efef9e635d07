// SPDX-License-Identifier: MIT
#include "kernels/device.h"

#include <cstdint>
#include <memory>
#include <new>
#include <string>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/runtime.h"
#include "kernels/cuda/recording.h"
#include "kernels/graph.h"
#include "kernels/table.h"

/// Memory, copies and the stream that everything runs on.
namespace kg::kernels::cuda {

using namespace kg::cuda;

namespace {

/// Why no kernel can run, empty if one can.
std::string find_obstacle() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorInsufficientDriver)
    return "no NVIDIA driver was found, or one older than this build's CUDA runtime";
  if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0)) return "the driver reports no GPU";
  if (code != cudaSuccess) return std::string("the CUDA runtime reports: ") + cudaGetErrorString(code);
  return "";
}

const std::string& obstacle() {
  static const std::string found = find_obstacle();
  return found;
}

cudaStream_t make_stream() {
  if (!is_available()) throw Error("cuda is not available: " + unavailable_reason());
  // Memory that is released goes to whoever allocates next, not back to the system at every
  // synchronisation.
  cudaMemPool_t pool = nullptr;
  check(cudaDeviceGetDefaultMemPool(&pool, 0), "cudaDeviceGetDefaultMemPool");
  std::uint64_t keep_all = UINT64_MAX;
  check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all), "cudaMemPoolSetAttribute");
  cudaStream_t created = nullptr;
  check(cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return created;
}

void* allocate(std::size_t bytes) {
  const Turn turn;
  void* memory = nullptr;
  // Never 0 bytes: as on the CPU, every tensor has an address of its own.
  const cudaError_t code = cudaMallocAsync(&memory, bytes > 0 ? bytes : 1, stream());
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // or the next launch would report it again
    throw std::bad_alloc();
  }
  check(code, "cudaMallocAsync");
  note_allocation(memory);
  return memory;
}

void release_bytes(void* memory, std::size_t) noexcept {
  if (memory) release(memory);
}

/// A copy from or to the host would be recorded with the host's address, which means nothing at the replay.
void refuse_in_recording(const char* what) {
  if (is_recording()) throw Error(std::string("cuda: ") + what + " while work is being recorded for a graph");
}

void copy_from_host(void* device, const void* host, std::size_t bytes) {
  if (bytes == 0) return;
  refuse_in_recording("a copy from the host");
  const Turn turn;
  // The runtime has read pageable memory when the call returns, so the caller may overwrite it.
  check(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream()), "cudaMemcpyAsync");
}

void synchronize() {
  refuse_in_recording("waiting for the device");
  const Turn turn;
  check(cudaStreamSynchronize(stream()), "cudaStreamSynchronize");
}

void copy_to_host(void* host, const void* device, std::size_t bytes) {
  if (bytes == 0) return;
  refuse_in_recording("a copy to the host");
  const Turn turn;
  check(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream()), "cudaMemcpyAsync");
  synchronize();
}

void copy_within(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  const Turn turn;
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "cudaMemcpyAsync");
}

}  // namespace

bool is_available() { return obstacle().empty(); }
std::string unavailable_reason() { return obstacle(); }

std::string device_name() {
  // Far from small, and unlike its fields the structure changes between versions: not on the stack.
  const auto properties = std::make_unique<cudaDeviceProp>();
  check(cudaGetDeviceProperties(properties.get(), 0), "cudaGetDeviceProperties");
  return properties->name;
}

Peaks peaks() {
  const auto attribute = [](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, 0), "cudaDeviceGetAttribute");
    return static_cast<double>(value);
  };
  const double major = attribute(cudaDevAttrComputeCapabilityMajor),
               minor = attribute(cudaDevAttrComputeCapabilityMinor);
  // Multiply-adds that a multiprocessor finishes in a clock (CUDA C++ Programming Guide, "Arithmetic
  // Instructions"): 64 for 7.x and 8.0, 128 since.
  const double lanes = major < 8 || (major == 8 && minor == 0) ? 64 : 128;
  // Clocks are in kHz; memory moves on both edges of its clock.
  return {
      .gflops = 2e-6 * lanes * attribute(cudaDevAttrMultiProcessorCount) * attribute(cudaDevAttrClockRate),
      .gbs = 2e-6 * attribute(cudaDevAttrMemoryClockRate) * attribute(cudaDevAttrGlobalMemoryBusWidth) / 8};
}

const DeviceFunctions& device() {
  static constexpr DeviceFunctions functions{.allocate = allocate,
                                             .release = release_bytes,
                                             .copy_from_host = copy_from_host,
                                             .copy_to_host = copy_to_host,
                                             .copy_within = copy_within,
                                             .synchronize = synchronize};
  return functions;
}

}  // namespace kg::kernels::cuda

namespace kg::cuda {

cudaStream_t stream() {
  static const cudaStream_t made = kernels::cuda::make_stream();
  return made;
}

void detail::note_launch(const char* name) noexcept { kernels::note_variant(name); }

}  // namespace kg::cuda
