// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/error.h"

/// An operation's kernels are a table of functions, <Operation>Kernels<T> in kernels/<operation>.h: the
/// contract. Three implementations fill tables in: our own kernels for the CPU and for CUDA, and NVIDIA's
/// libraries cuDNN and cuBLAS.
///
///     cuda::table<Conv2dKernels<float>>()->forward(problem, input, weight, bias, output);
///
/// kernels/<implementation>/<operation> defines the table. Where there is none it is null: CMake defines that
/// from the list in kernels/operations.cmake.
namespace kg::cuda {}

namespace kg::kernels {

namespace cpu {
template <class Kernels>
const Kernels* table();
}
namespace cuda {
using namespace kg::cuda;  // what kernelgrad/cuda.h gives to every kernel
template <class Kernels>
const Kernels* table();
}  // namespace cuda
namespace cudnn {
template <class Kernels>
const Kernels* table();
}

/// Thrown for a problem that an implementation of an operation does not take and another might, before
/// anything has been queued.
class Unsupported : public Error {
 public:
  using Error::Error;
};

}  // namespace kg::kernels
