#pragma once

#include <cuda_runtime.h>

#include "kernels/stream.h"

namespace kg::kernels::cuda {

/// The CUDA stream behind a Stream. An empty one stands for the backend's own stream: not CUDA's default
/// stream, which cannot be captured.
cudaStream_t stream_of(Stream stream);

}  // namespace kg::kernels::cuda
