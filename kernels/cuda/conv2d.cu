// SPDX-License-Identifier: MIT
#include "kernels/conv2d.h"

#include "kernels/cuda/conv2d_parts.h"

/// Convolution. The kernels lie beside this file: conv2d_tiled.cu, which takes forward and the input gradient
/// wherever the stride is 1; conv2d_general.cu, which takes what is left; conv2d_backward_weight.cu. Which of
/// them a problem gets follows from the problem alone.
namespace kg::kernels::cuda {

namespace {

template <class T>
void forward(const Conv2dProblem& problem, const T* input, const T* weight, const T* bias, T* output) {
  if (!conv2d_forward_tiled(problem, input, weight, bias, output))
    conv2d_forward_general(problem, input, weight, bias, output);
}

template <class T>
void backward_input(const Conv2dProblem& problem, const T* grad_output, const T* weight, T* grad_input) {
  if (!conv2d_backward_input_tiled(problem, grad_output, weight, grad_input))
    conv2d_backward_input_general(problem, grad_output, weight, grad_input);
}

template <class T>
constexpr Conv2dKernels<T> conv2d{plain<forward<T>>, plain<backward_input<T>>,
                                  plain<conv2d_backward_weight<T>>, plain<conv2d_backward_bias<T>>};

}  // namespace

template <>
Tables<Conv2dKernels> tables() {
  return {&conv2d<float>, &conv2d<double>};
}

}  // namespace kg::kernels::cuda
