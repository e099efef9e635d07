#include <string>

#include "kernelgrad/device.h"
#include "kernelgrad/error.h"
#include "training/cuda/kernels.h"

/// What a build without CUDA links in place of the optimizers' kernels. Nobody gets here: there are no tensors
/// on CUDA.
namespace kg::training::cuda {

template <class T>
void sgd_step(std::span<const SgdParameter<T>>, const SgdConstants&, const SgdRates*, kernels::Stream) {
  throw Error("sgd_step: " + cuda_unavailable_reason());
}
template void sgd_step(std::span<const SgdParameter<float>>, const SgdConstants&, const SgdRates*,
                       kernels::Stream);
template void sgd_step(std::span<const SgdParameter<double>>, const SgdConstants&, const SgdRates*,
                       kernels::Stream);

}  // namespace kg::training::cuda
