// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <string>

#include "kernelgrad/error.h"
#include "kernels/cudnn.h"
#include "kernels/cudnn/library.h"

/// What the libraries' status codes become.
namespace kg::kernels::cudnn {

/// "cudnn: <call> failed at <file>:<line>: <the library's words>".
inline std::string failure(const char* call, const char* file, int line, const std::string& words) {
  return std::string("cudnn: ") + call + " failed at " + file + ":" + std::to_string(line) + ": " + words;
}

/// The name of the status, and what cuDNN has to say about the thread's last error.
inline std::string words_of(cudnnStatus_t status) {
  std::array<char, 1024> details = {};
  cudnn_library().cudnnGetLastErrorString(details.data(), details.size());
  const std::string name = cudnn_library().cudnnGetErrorString(status);
  return details[0] ? name + " (" + details.data() + ")" : name;
}

/// Throws unless the call succeeded: Unsupported for a problem that cuDNN does not take, otherwise Error.
/// `call` is the function's name: check(cudnn_library().cudnnCreate(&handle), "cudnnCreate").
inline void check(cudnnStatus_t status, const char* call, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  const std::string message = failure(call, file, line, words_of(status));
  if (CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED) throw Unsupported(message);
  throw Error(message);
}

inline void check(cublasStatus_t status, const char* call, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  const std::string message = failure(call, file, line, cublas_library().cublasGetStatusString(status));
  if (status == CUBLAS_STATUS_NOT_SUPPORTED) throw Unsupported(message);
  throw Error(message);
}

}  // namespace kg::kernels::cudnn
