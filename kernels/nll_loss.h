#pragma once

#include <cstdint>

#include "kernels/stream.h"

namespace kg::kernels {

template <class T>
struct NllLossKernels {
  /// loss[0] = -scale * sum over r of log_probabilities[r, labels[r]]; NaN if a label lies outside [0,
  /// classes).
  void (*forward)(std::int64_t rows, std::int64_t classes, double scale, const T* log_probabilities,
                  const std::int64_t* labels, T* loss, Stream);
  /// grad_input[r,c] = -scale * grad_loss[0] where c == labels[r], otherwise 0.
  void (*backward)(std::int64_t rows, std::int64_t classes, double scale, const T* grad_loss,
                   const std::int64_t* labels, T* grad_input, Stream);
};

namespace cpu {
template <class T>
const NllLossKernels<T>& nll_loss();
}
namespace cuda {
template <class T>
const NllLossKernels<T>& nll_loss();
}

}  // namespace kg::kernels
