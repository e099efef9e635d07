#pragma once

#include <cstdint>

#include "kernels/pool2d_problem.h"
#include "kernels/stream.h"

namespace kg::kernels {

template <class T>
struct AvgPool2dKernels {
  /// output[z,y,x] = sum of the window / divisor, which is k_h * k_w, or with count_include_pad = false the
  /// number of window cells that lie inside the image.
  void (*forward)(const Pool2dProblem&, bool count_include_pad, const T* input, T* output, Stream);
  /// grad_input[z,p] = sum of grad_output / divisor over the windows that contain p. Every element is
  /// written.
  void (*backward)(const Pool2dProblem&, bool count_include_pad, const T* grad_output, T* grad_input, Stream);
};

namespace cpu {
template <class T>
const AvgPool2dKernels<T>& avg_pool2d();
}
namespace cuda {
template <class T>
const AvgPool2dKernels<T>& avg_pool2d();
}
namespace cudnn {
template <class T>
const AvgPool2dKernels<T>& avg_pool2d();
}

}  // namespace kg::kernels
