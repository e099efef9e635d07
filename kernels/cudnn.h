// SPDX-License-Identifier: MIT
#pragma once

#include <string>

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

/// What the libraries may do for speed. The default is what our own kernels do: full float32, and the same
/// bits in every run.
struct Options {
  bool allow_tf32 = false;    ///< Products of 10-bit mantissas on tensor cores.
  bool deterministic = true;  ///< Only algorithms that add in a fixed order.
};
Options options();
/// Holds for calls from now on.
void set_options(const Options&);

}  // namespace kg::kernels::cudnn
