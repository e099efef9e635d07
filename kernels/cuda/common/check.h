// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <source_location>
#include <string>

#include "kernelgrad/error.h"

namespace kg::kernels::cuda {

/// "cuda: <what> failed at <file>:<line>: <the runtime's words> (<name of the code>)".
inline std::string failure(cudaError_t code, const std::string& what, const std::source_location& where) {
  return "cuda: " + what + " failed at " + where.file_name() + ":" + std::to_string(where.line()) + ": " +
         cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")";
}

/// Throws Error unless `code` is success. `what` names the call: check(cudaStreamSynchronize(s),
/// "cudaStreamSynchronize").
inline void check(cudaError_t code, const char* what,
                  const std::source_location& where = std::source_location::current()) {
  if (code != cudaSuccess) throw Error(failure(code, what, where));
}

}  // namespace kg::kernels::cuda
