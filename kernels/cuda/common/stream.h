// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

namespace kg::kernels::cuda {
/// The stream that everything runs on. Non-blocking: it does not wait for CUDA's default stream, which
/// somebody else in the program may be using and which cannot be captured.
cudaStream_t stream();

}  // namespace kg::kernels::cuda
