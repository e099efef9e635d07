// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>

#include "kernelgrad/host_device.h"

// mish(x) = x * tanh(log(1 + exp(x))) (Misra, "Mish: A self regularized non-monotonic activation function",
// 2019), of one element: what the loop over the CPU's memory and the CUDA kernel have in common.
struct Mish {
  template <class T>
  KG_HOST_DEVICE static T softplus(T x) {
    return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  }
  template <class T>
  KG_HOST_DEVICE static T value(T x) {
    return x * std::tanh(softplus(x));
  }
  template <class T>
  KG_HOST_DEVICE static T derivative(T x) {
    const T t = std::tanh(softplus(x)), sigmoid = 1 / (1 + std::exp(-x));
    return t + x * (1 - t * t) * sigmoid;
  }
};

// The same for arrays in device memory, queued on the library's stream: mish.cu.
template <class T>
void mish_forward_cuda(std::int64_t count, const T* input, T* output);
template <class T>
void mish_backward_cuda(std::int64_t count, const T* input, const T* grad_output, T* grad_input);
