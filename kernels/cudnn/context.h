// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>
#include <mutex>

#include "kernelgrad/cuda/runtime.h"
#include "kernels/cudnn/check.h"

namespace kg::kernels::cudnn {

/// What all calls share: the libraries' handles, each made when it is first needed, and a workspace.
/// Nothing of it can be made while work is being recorded for a graph: the step must have run once before.
class Context {
 public:
  cudnnHandle_t cudnn();
  cublasHandle_t cublas();
  /// Device memory of at least that size (null for 0), for a call that is queued before the next use of the
  /// context. Recorded graphs keep its address, so it never moves and is never released: where it is too
  /// small, another is added, at least twice as large.
  void* workspace(std::size_t bytes);

 private:
  struct DestroyCudnn {
    void operator()(cudnnHandle_t handle) const { static_cast<void>(cudnn_library().cudnnDestroy(handle)); }
  };
  struct DestroyCublas {
    void operator()(cublasHandle_t handle) const {
      static_cast<void>(cublas_library().cublasDestroy_v2(handle));
    }
  };

  void refuse_in_recording(const char* what) const;
  void* allocate(std::size_t bytes) const;

  std::unique_ptr<cudnnContext, DestroyCudnn> cudnn_;
  std::unique_ptr<cublasContext, DestroyCublas> cublas_;
  void* workspace_ = nullptr;  ///< The largest.
  std::size_t workspace_bytes_ = 0;
};

/// The context, and for as long as it is held no other thread has it: a handle is not to be used by two
/// threads at once. A call holds the lock for no longer than the host takes to queue work; it guards what
/// else the calls keep, too.
class LockedContext {
 public:
  LockedContext();

  Context* operator->() const { return context_; }

 private:
  cuda::Turn turn_;
  std::unique_lock<std::mutex> lock_;
  Context* context_;
};

}  // namespace kg::kernels::cudnn
