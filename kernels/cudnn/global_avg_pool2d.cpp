// SPDX-License-Identifier: MIT
#include "kernels/global_avg_pool2d.h"

#include <cmath>

#include "kernels/cudnn/pool2d.h"

/// The mean of every plane: average pooling with a window as large as the plane.
namespace kg::kernels::cudnn {

namespace {

/// A plane may be taken for an image of any height that divides it. As near to a square as there is, because
/// cuDNN's windows are limited in each direction.
Pool2dProblem problem_of(std::int64_t planes, std::int64_t plane) {
  if (plane < 1) throw Unsupported("global_avg_pool2d: planes of 0 values, which cudnn does not take");
  std::int64_t h = std::llround(std::sqrt(static_cast<double>(plane)));
  while (plane % h != 0) --h;
  const std::int64_t w = plane / h;
  return {.planes = planes, .h = h, .w = w, .k_h = h, .k_w = w, .stride_h = h, .stride_w = w};
}

template <class T>
Pooling pooling_of(std::int64_t planes, std::int64_t plane) {
  return {"global_avg_pool2d", problem_of(planes, plane), CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING,
          data_type<T>};
}

template <class T>
void forward(std::int64_t planes, std::int64_t plane, const T* input, T* output) {
  pooling_of<T>(planes, plane).forward(input, output);
}

template <class T>
void backward(std::int64_t planes, std::int64_t plane, const T* grad_output, T* grad_input) {
  pooling_of<T>(planes, plane).backward_of_average(grad_output, grad_input);
}

template <class T>
constexpr GlobalAvgPool2dKernels<T> global_avg_pool2d{plain<forward<T>>, plain<backward<T>>};

}  // namespace

template <>
Tables<GlobalAvgPool2dKernels> tables() {
  return {&global_avg_pool2d<float>, &global_avg_pool2d<double>};
}

}  // namespace kg::kernels::cudnn
