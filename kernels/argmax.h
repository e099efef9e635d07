// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/table.h"

namespace kg::kernels {

template <class T>
struct ArgmaxKernels {
  static constexpr std::string_view operation = "argmax";

  /// output[r] = the column of the largest input[r, 0 .. columns), the first among equals; NaN counts as
  /// largest.
  void (*forward)(std::int64_t rows, std::int64_t columns, const T* input, std::int64_t* output);
};

}  // namespace kg::kernels
