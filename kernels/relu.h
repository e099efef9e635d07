#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/table.h"

namespace kg::kernels {

template <class T>
struct ReluKernels {
  static constexpr std::string_view operation = "relu";

  /// output[i] = max(input[i], 0). NaN stays NaN.
  void (*forward)(std::int64_t count, const T* input, T* output);
  /// grad_input[i] = output[i] <= 0 ? 0 : grad_output[i], where output is forward's: NaN lets it pass.
  void (*backward)(std::int64_t count, const T* output, const T* grad_output, T* grad_input);
};

}  // namespace kg::kernels
