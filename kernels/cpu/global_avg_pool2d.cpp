// SPDX-License-Identifier: MIT
#include "kernels/global_avg_pool2d.h"

#include <algorithm>

#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

constexpr std::int64_t planes_per_task = 128;

template <class T>
void forward(std::int64_t planes, std::int64_t plane, const T* input, T* output) {
  parallel_for_ranges(planes, planes_per_task, [&](Range range) {
    for (std::int64_t z = range.begin; z < range.end; ++z) {
      double sum = 0;
      for (std::int64_t i = 0; i < plane; ++i) sum += static_cast<double>(input[z * plane + i]);
      output[z] = static_cast<T>(sum / static_cast<double>(plane));
    }
  });
}

template <class T>
void backward(std::int64_t planes, std::int64_t plane, const T* grad_output, T* grad_input) {
  parallel_for_ranges(planes, planes_per_task, [&](Range range) {
    for (std::int64_t z = range.begin; z < range.end; ++z)
      std::fill_n(grad_input + z * plane, plane, grad_output[z] / static_cast<T>(plane));
  });
}

template <class T>
constexpr GlobalAvgPool2dKernels<T> global_avg_pool2d{forward<T>, backward<T>};

}  // namespace

template <>
Tables<GlobalAvgPool2dKernels> tables() {
  return {&global_avg_pool2d<float>, &global_avg_pool2d<double>};
}

}  // namespace kg::kernels::cpu
