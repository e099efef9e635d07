// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/export.h"

/// On a function that runs on the CPU and in CUDA kernels.
#ifdef __CUDACC__
#define KG_HOST_DEVICE __host__ __device__
#else
#define KG_HOST_DEVICE
#endif

/// Sums and products that the compiler must not fuse: each is rounded on its own, so that CPU and GPU come to
/// the same bits. A source for the CPU must be compiled with -ffp-contract=off for that.
namespace KG_API kg {
namespace unfused {

KG_HOST_DEVICE inline float product(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

KG_HOST_DEVICE inline double product(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

KG_HOST_DEVICE inline float sum(float a, float b) {
#ifdef __CUDA_ARCH__
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

KG_HOST_DEVICE inline double sum(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dadd_rn(a, b);
#else
  return a + b;
#endif
}

}  // namespace unfused
}  // namespace kg
