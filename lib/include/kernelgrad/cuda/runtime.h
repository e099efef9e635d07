// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "kernelgrad/error.h"
#include "kernelgrad/export.h"

/// What stands between a program and the CUDA runtime: errors, the stream, the right to queue work on it.
namespace KG_API kg {
namespace cuda {

/// "cuda: <what> failed at <file>:<line>: <the runtime's words> (<name of the code>)".
inline std::string failure(cudaError_t code, const std::string& what, const char* file, unsigned line) {
  return "cuda: " + what + " failed at " + file + ":" + std::to_string(line) + ": " +
         cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ")";
}

/// Throws Error unless `code` is success. `what` names the call: check(cudaStreamSynchronize(s),
/// "cudaStreamSynchronize").
// clang 14 does not know the library's std::source_location.
inline void check(cudaError_t code, const char* what, const char* file = __builtin_FILE(),
                  unsigned line = __builtin_LINE()) {
  if (code != cudaSuccess) throw Error(failure(code, what, file, line));
}

/// The stream that everything runs on. It does not wait for CUDA's default stream, which somebody else in the
/// program may be using and which cannot be captured. Throws Error where CUDA is not available.
cudaStream_t stream();

/// The right to queue work on stream() and to allocate memory, held for the length of a scope by whoever
/// does. launch() takes it; a program that calls the runtime's own functions with stream() takes it first.
/// Many threads have it at a time. While one of them records work for a kg::Graph it has it alone: what the
/// others queued would be recorded too, so they wait for the end of the recording. Scopes may be nested. Two
/// uncontended locks cost some 40 ns, a launch 2 us or more.
class Turn {
 public:
  Turn();
  ~Turn();
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
};

}  // namespace cuda
}  // namespace kg
