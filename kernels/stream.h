#pragma once

namespace kg::kernels {

/// Where a kernel is queued: a cudaStream_t on CUDA. The CPU backend runs at once and ignores it.
struct Stream {
  void* handle = nullptr;
};

}  // namespace kg::kernels
