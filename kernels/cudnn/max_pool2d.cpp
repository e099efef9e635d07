// SPDX-License-Identifier: MIT
#include "kernels/max_pool2d.h"

#include "kernels/cudnn/pool2d.h"

/// Max pooling by cudnnPoolingForward and cudnnPoolingBackward. Backward finds the winners again by comparing
/// input and output; which of equal values it takes is cuDNN's choice.
namespace kg::kernels::cudnn {

namespace {

template <class T>
Pooling pooling_of(const Pool2dProblem& p) {
  // Backward in CUDNN_POOLING_MAX adds up overlapping windows in any order.
  return {"max_pool2d", p, options().deterministic ? CUDNN_POOLING_MAX_DETERMINISTIC : CUDNN_POOLING_MAX,
          data_type<T>};
}

template <class T>
void forward(const Pool2dProblem& p, const T* input, T* output, std::int32_t*) {
  pooling_of<T>(p).forward(input, output);
}

template <class T>
void backward(const Pool2dProblem& p, const T* input, const T* output, const T* grad_output,
              const std::int32_t*, T* grad_input) {
  pooling_of<T>(p).backward(input, output, grad_output, grad_input);
}

template <class T>
constexpr MaxPool2dKernels<T> max_pool2d{
    .forward = plain<forward<T>>, .backward = plain<backward<T>>, .uses_argmax = false};

}  // namespace

template <>
Tables<MaxPool2dKernels> tables() {
  return {&max_pool2d<float>, &max_pool2d<double>};
}

}  // namespace kg::kernels::cudnn
