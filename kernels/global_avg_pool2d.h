#pragma once

#include <cstdint>

#include "kernels/stream.h"

namespace kg::kernels {

template <class T>
struct GlobalAvgPool2dKernels {
  /// output[z] = mean of input[z, 0 .. plane).
  void (*forward)(std::int64_t planes, std::int64_t plane, const T* input, T* output, Stream);
  /// grad_input[z, i] = grad_output[z] / plane.
  void (*backward)(std::int64_t planes, std::int64_t plane, const T* grad_output, T* grad_input, Stream);
};

namespace cpu {
template <class T>
const GlobalAvgPool2dKernels<T>& global_avg_pool2d();
}
namespace cuda {
template <class T>
const GlobalAvgPool2dKernels<T>& global_avg_pool2d();
}
namespace cudnn {
template <class T>
const GlobalAvgPool2dKernels<T>& global_avg_pool2d();
}

}  // namespace kg::kernels
