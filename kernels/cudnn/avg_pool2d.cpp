// SPDX-License-Identifier: MIT
#include "kernels/avg_pool2d.h"

#include "kernels/cudnn/pool2d.h"

/// Average pooling by cudnnPoolingForward and cudnnPoolingBackward.
namespace kg::kernels::cudnn {

namespace {

template <class T>
Pooling pooling_of(const Pool2dProblem& p, bool count_include_pad) {
  return {"avg_pool2d", p,
          count_include_pad ? CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING
                            : CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING,
          data_type<T>};
}

template <class T>
void forward(const Pool2dProblem& p, bool count_include_pad, const T* input, T* output) {
  pooling_of<T>(p, count_include_pad).forward(input, output);
}

template <class T>
void backward(const Pool2dProblem& p, bool count_include_pad, const T* grad_output, T* grad_input) {
  pooling_of<T>(p, count_include_pad).backward_of_average(grad_output, grad_input);
}

template <class T>
constexpr AvgPool2dKernels<T> avg_pool2d{plain<forward<T>>, plain<backward<T>>};

}  // namespace

template <>
Tables<AvgPool2dKernels> tables() {
  return {&avg_pool2d<float>, &avg_pool2d<double>};
}

}  // namespace kg::kernels::cudnn
