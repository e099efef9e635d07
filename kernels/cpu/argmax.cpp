// SPDX-License-Identifier: MIT
#include "kernels/argmax.h"

#include <cmath>

namespace kg::kernels::cpu {

namespace {

template <class T>
void forward(std::int64_t rows, std::int64_t columns, const T* input, std::int64_t* output) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* x = input + r * columns;
    std::int64_t best = 0;
    for (std::int64_t c = 1; c < columns; ++c)
      if (x[c] > x[best] || (std::isnan(x[c]) && !std::isnan(x[best]))) best = c;
    output[r] = best;
  }
}

template <class T>
constexpr ArgmaxKernels<T> argmax{forward<T>};

}  // namespace

template <>
Tables<ArgmaxKernels> tables() {
  return {&argmax<float>, &argmax<double>};
}

}  // namespace kg::kernels::cpu
