#pragma once

#include <cstdint>

#include "kernels/stream.h"

namespace kg::kernels {

template <class T>
struct ReluKernels {
  /// output[i] = max(input[i], 0). NaN stays NaN.
  void (*forward)(std::int64_t count, const T* input, T* output, Stream);
  /// grad_input[i] = output[i] <= 0 ? 0 : grad_output[i], where output is forward's: NaN lets it pass.
  void (*backward)(std::int64_t count, const T* output, const T* grad_output, T* grad_input, Stream);
};

namespace cpu {
template <class T>
const ReluKernels<T>& relu();
}
namespace cuda {
template <class T>
const ReluKernels<T>& relu();
}

}  // namespace kg::kernels
