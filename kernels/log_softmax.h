#pragma once

#include <cstdint>

#include "kernels/stream.h"

namespace kg::kernels {

template <class T>
struct LogSoftmaxKernels {
  /// output[r,c] = input[r,c] - log(sum over k of exp(input[r,k])), computed about the row's maximum.
  void (*forward)(std::int64_t rows, std::int64_t classes, const T* input, T* output, Stream);
  /// grad_input[r,c] = grad_output[r,c] - exp(output[r,c]) * (sum over k of grad_output[r,k]), where output
  /// is forward's.
  void (*backward)(std::int64_t rows, std::int64_t classes, const T* output, const T* grad_output,
                   T* grad_input, Stream);
};

namespace cpu {
template <class T>
const LogSoftmaxKernels<T>& log_softmax();
}
namespace cuda {
template <class T>
const LogSoftmaxKernels<T>& log_softmax();
}
namespace cudnn {
template <class T>
const LogSoftmaxKernels<T>& log_softmax();
}

}  // namespace kg::kernels
