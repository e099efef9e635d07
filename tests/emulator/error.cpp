// SPDX-License-Identifier: MIT
#include "error.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "grid.h"

/// Errors: those of the program, which end it, and those that CUDA returns.
namespace emulator {

namespace {

thread_local cudaError_t last_error = cudaSuccess;

struct Description {
  cudaError_t error;
  const char *name, *text;
};

Description describe(cudaError_t error) {
  static constexpr Description descriptions[] = {
#define KG_EMULATOR_ERROR(error, text) {error, #error, text}
      KG_EMULATOR_ERROR(cudaSuccess, "no error"),
      KG_EMULATOR_ERROR(cudaErrorInvalidValue, "invalid argument"),
      KG_EMULATOR_ERROR(cudaErrorMemoryAllocation, "out of memory"),
      KG_EMULATOR_ERROR(cudaErrorInvalidConfiguration, "invalid configuration argument"),
      KG_EMULATOR_ERROR(cudaErrorInsufficientDriver, "the driver is older than the runtime"),
      KG_EMULATOR_ERROR(cudaErrorNoDevice, "there is no device"),
      KG_EMULATOR_ERROR(cudaErrorInvalidDevice, "there is no such device"),
      KG_EMULATOR_ERROR(cudaErrorInvalidResourceHandle, "invalid resource handle"),
      KG_EMULATOR_ERROR(cudaErrorIllegalState, "not possible in the present state"),
      KG_EMULATOR_ERROR(cudaErrorNotReady, "not ready"),
      KG_EMULATOR_ERROR(cudaErrorNotSupported, "not supported"),
      KG_EMULATOR_ERROR(cudaErrorStreamCaptureUnsupported, "not permitted while a stream is captured"),
      KG_EMULATOR_ERROR(cudaErrorStreamCaptureInvalidated, "an earlier error invalidated the capture"),
      KG_EMULATOR_ERROR(cudaErrorStreamCaptureIsolation,
                        "captured work would wait for work outside the capture"),
      KG_EMULATOR_ERROR(cudaErrorCapturedEvent, "not permitted on an event that a captured stream recorded"),
      KG_EMULATOR_ERROR(cudaErrorStreamCaptureWrongThread, "another thread began the capture"),
#undef KG_EMULATOR_ERROR
  };
  for (const Description& candidate : descriptions)
    if (candidate.error == error) return candidate;
  return {error, "unrecognized error code", "unrecognized error code"};
}

}  // namespace

void fail(const std::string& message) {
  std::fprintf(stderr, "emulator: %s%s\n", message.c_str(), place_in_kernel().c_str());
  std::abort();
}

cudaError_t note(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

std::string text(const void* address) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%p", address);
  return digits;
}

}  // namespace emulator

const char* cudaGetErrorName(cudaError_t error) { return emulator::describe(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return emulator::describe(error).text; }
cudaError_t cudaGetLastError() { return std::exchange(emulator::last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return emulator::last_error; }
