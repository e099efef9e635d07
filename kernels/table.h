// SPDX-License-Identifier: MIT
#pragma once

#include <type_traits>

#include "kernelgrad/error.h"

namespace kg::cuda {}

/// An operation's kernels are a table of functions, <Operation>Kernels<T> in kernels/<operation>.h: the
/// contract. Three implementations fill tables in: our own kernels for the CPU and for CUDA, and NVIDIA's
/// libraries cuDNN and cuBLAS.
///
///     cuda::tables<Conv2dKernels>().of<float>()->forward(problem, input, weight, bias, output);
///
/// kernels/<implementation>/<operation> defines the tables. Where there are none they are null: CMake defines
/// that from the list in kernels/operations.cmake.
namespace kg::kernels {

/// An implementation's tables of one operation.
template <template <class> class Kernels>
struct Tables {
  const Kernels<float>* float32 = nullptr;
  const Kernels<double>* float64 = nullptr;

  template <class T>
  const Kernels<T>* of() const {
    if constexpr (std::is_same_v<T, float>)
      return float32;
    else
      return float64;
  }
};

namespace cpu {
template <template <class> class Kernels>
Tables<Kernels> tables();
}
namespace cuda {
using namespace kg::cuda;  // what kernelgrad/cuda.h gives to every kernel
template <template <class> class Kernels>
Tables<Kernels> tables();
}  // namespace cuda
namespace cudnn {
template <template <class> class Kernels>
Tables<Kernels> tables();
}

/// Thrown for a problem that an implementation of an operation does not take and another might, before
/// anything has been queued.
class Unsupported : public Error {
 public:
  using Error::Error;
};

/// Says which of its kernels an implementation takes for the problem at hand ("AVX3",
/// "conv2d_tiled_kernel<float, 3, 8>"), for kg::backend_choices(): of several calls for a problem the first
/// counts. To be called on the thread that called the table's function; `name` lives for ever.
void note_variant(const char* name) noexcept;

}  // namespace kg::kernels
