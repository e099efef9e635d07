// SPDX-License-Identifier: MIT
#include <string>

#include "kernelgrad/device.h"
#include "kernelgrad/error.h"
#include "training/cuda/kernels.h"

/// What a build without CUDA links in place of the optimizers' kernel. Nobody gets here: there are no tensors
/// on CUDA.
namespace kg::training::cuda {

template <class Rule>
void optimizer_step(std::span<const ParameterStep<typename Rule::Value, Rule::kept_values>>,
                    const typename Rule::Constants&, const double*) {
  throw Error("optimizer_step: " + cuda_unavailable_reason());
}
KG_INSTANTIATE_OPTIMIZER_STEPS

}  // namespace kg::training::cuda
