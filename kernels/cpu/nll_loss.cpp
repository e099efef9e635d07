// SPDX-License-Identifier: MIT
#include "kernels/nll_loss.h"

#include <algorithm>
#include <limits>

namespace kg::kernels::cpu {

namespace {

template <class T>
void forward(std::int64_t rows, std::int64_t classes, double scale, const T* log_probabilities,
             const std::int64_t* labels, T* loss) {
  double sum = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const bool valid = labels[r] >= 0 && labels[r] < classes;
    sum -= valid ? static_cast<double>(log_probabilities[r * classes + labels[r]])
                 : std::numeric_limits<double>::quiet_NaN();
  }
  *loss = static_cast<T>(sum * scale);
}

template <class T>
void backward(std::int64_t rows, std::int64_t classes, double scale, const T* grad_loss,
              const std::int64_t* labels, T* grad_input) {
  std::fill_n(grad_input, rows * classes, T(0));
  const T value = static_cast<T>(-scale) * *grad_loss;
  for (std::int64_t r = 0; r < rows; ++r)
    if (labels[r] >= 0 && labels[r] < classes) grad_input[r * classes + labels[r]] = value;
}

template <class T>
constexpr NllLossKernels<T> nll_loss{forward<T>, backward<T>};

}  // namespace

template <>
Tables<NllLossKernels> tables() {
  return {&nll_loss<float>, &nll_loss<double>};
}

}  // namespace kg::kernels::cpu
