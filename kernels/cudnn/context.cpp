// SPDX-License-Identifier: MIT
#include "kernels/cudnn/context.h"

#include <algorithm>
#include <string>

#include "kernelgrad/cuda/runtime.h"
#include "kernels/device.h"
#include "kernels/graph.h"

namespace kg::kernels::cudnn {

namespace {

/// What cuBLAS recommends for Hopper, the most for any architecture.
constexpr std::size_t cublas_workspace_bytes = std::size_t{32} << 20;

std::mutex context_mutex;

/// Never destroyed: when a program's static objects are, the libraries and the CUDA context may be gone
/// before them, and what the handles and workspaces hold goes with the process.
Context& the_context() {
  static Context& context = *new Context;
  return context;
}

}  // namespace

cudnnHandle_t Context::cudnn() {
  if (!cudnn_) {
    refuse_in_recording("a handle of cuDNN");
    cudnnHandle_t created = nullptr;
    check(cudnn_library().cudnnCreate(&created), "cudnnCreate");
    decltype(cudnn_) handle(created);
    check(cudnn_library().cudnnSetStream(created, cuda::stream()), "cudnnSetStream");
    cudnn_ = std::move(handle);
  }
  return cudnn_.get();
}

cublasHandle_t Context::cublas() {
  if (!cublas_) {
    refuse_in_recording("a handle of cuBLAS");
    cublasHandle_t created = nullptr;
    check(cublas_library().cublasCreate_v2(&created), "cublasCreate");
    decltype(cublas_) handle(created);
    check(cublas_library().cublasSetStream_v2(created, cuda::stream()), "cublasSetStream");
    // One of our own, so that cuBLAS neither allocates in a recording nor chooses its kernels by how much of
    // its own happens to be free. After the stream, whose setting resets it.
    check(cublas_library().cublasSetWorkspace_v2(created, allocate(cublas_workspace_bytes),
                                                 cublas_workspace_bytes),
          "cublasSetWorkspace");
    cublas_ = std::move(handle);
  }
  return cublas_.get();
}

void* Context::workspace(std::size_t bytes) {
  if (bytes > workspace_bytes_) {
    refuse_in_recording("a larger workspace for cuDNN");
    bytes = std::max(bytes, 2 * workspace_bytes_);
    workspace_ = allocate(bytes);
    workspace_bytes_ = bytes;
  }
  return bytes > 0 ? workspace_ : nullptr;
}

void Context::refuse_in_recording(const char* what) const {
  if (cuda::is_recording())
    throw Error(std::string("cudnn: ") + what +
                " is needed while work is being recorded for a graph: run the step once before recording it");
}

void* Context::allocate(std::size_t bytes) const { return cuda::device().allocate(bytes); }

LockedContext::LockedContext() : lock_(context_mutex), context_(&the_context()) {}

}  // namespace kg::kernels::cudnn
