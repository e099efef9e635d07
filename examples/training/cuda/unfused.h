#pragma once

#include <cuda_runtime.h>

/// Sums and products that the compiler must not fuse: each is rounded on its own, as on the CPU, so that both
/// backends come to the same bits.
namespace kg::training::cuda {

__device__ inline float product(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double product(double a, double b) { return __dmul_rn(a, b); }
__device__ inline float sum(float a, float b) { return __fadd_rn(a, b); }
__device__ inline double sum(double a, double b) { return __dadd_rn(a, b); }

}  // namespace kg::training::cuda
