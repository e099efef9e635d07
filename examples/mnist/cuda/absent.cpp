// SPDX-License-Identifier: MIT
#include <string>

#include "cuda/kernels.h"
#include "kernelgrad/device.h"
#include "kernelgrad/error.h"

/// What a build without CUDA links in place of the trainer's kernels. Nobody gets here: there are no tensors
/// on CUDA.
namespace mnist::cuda {

namespace {

[[noreturn]] void absent(const char* kernel) {
  throw kg::Error(std::string(kernel) + ": " + kg::cuda_unavailable_reason());
}

}  // namespace

void augment_batch(const AugmentSource&, const std::int64_t*, int, float*, std::int64_t*) {
  absent("augment_batch");
}

void metrics_add_batch(std::int64_t, std::int64_t, const float*, const std::int64_t*, const float*,
                       EpochTotals*, BatchTotals*) {
  absent("metrics_add_batch");
}

}  // namespace mnist::cuda
