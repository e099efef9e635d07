#pragma once

#include <cstdint>

#include "kernels/stream.h"

namespace kg::kernels {

/// input [rows, in_features], weight [out_features, in_features], bias [out_features], output [rows,
/// out_features].
struct LinearProblem {
  std::int64_t rows, in_features, out_features;
};

template <class T>
struct LinearKernels {
  /// output = input weight^T + bias. `bias` may be null.
  void (*forward)(const LinearProblem&, const T* input, const T* weight, const T* bias, T* output, Stream);
  /// grad_input = grad_output weight.
  void (*backward_input)(const LinearProblem&, const T* grad_output, const T* weight, T* grad_input, Stream);
  /// grad_weight = grad_output^T input.
  void (*backward_weight)(const LinearProblem&, const T* input, const T* grad_output, T* grad_weight, Stream);
  /// grad_bias[o] = sum over the rows of grad_output[r, o].
  void (*backward_bias)(const LinearProblem&, const T* grad_output, T* grad_bias, Stream);
};

namespace cpu {
template <class T>
const LinearKernels<T>& linear();
}
namespace cuda {
template <class T>
const LinearKernels<T>& linear();
}
namespace cudnn {
template <class T>
const LinearKernels<T>& linear();
}

}  // namespace kg::kernels
