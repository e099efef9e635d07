// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "kernelgrad/backend.h"
#include "kernels/table.h"

/// NVIDIA's implementations of the operations behind the same tables as our own: cuDNN's convolution, batch
/// normalisation, pooling and softmax, and cuBLAS's matrix product for `linear`. Both libraries are loaded
/// when they are first needed, from where the dynamic linker finds them; a program starts without them. What
/// they do not take throws Unsupported.
namespace kg::kernels::cudnn {

/// True if both libraries can be loaded. Does not ask for a GPU.
bool is_available();
/// Why is_available() is false: names the file that was not found, or says that this build cannot use the
/// libraries. Empty when it is true.
std::string unavailable_reason();
/// "cuDNN 9.19.0, cuBLAS 13.1.0". Throws Error where they are not available.
std::string version();

CudnnOptions options();
/// Holds for calls from now on.
void set_options(const CudnnOptions&);

}  // namespace kg::kernels::cudnn
