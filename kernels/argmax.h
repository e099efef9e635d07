#pragma once

#include <cstdint>

#include "kernels/stream.h"

namespace kg::kernels {

template <class T>
struct ArgmaxKernels {
  /// output[r] = the column of the largest input[r, 0 .. columns), the first among equals; NaN counts as
  /// largest.
  void (*forward)(std::int64_t rows, std::int64_t columns, const T* input, std::int64_t* output, Stream);
};

namespace cpu {
template <class T>
const ArgmaxKernels<T>& argmax();
}
namespace cuda {
template <class T>
const ArgmaxKernels<T>& argmax();
}

}  // namespace kg::kernels
