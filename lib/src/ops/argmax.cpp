// SPDX-License-Identifier: MIT
#include "kernels/argmax.h"

#include "dispatch/kernels.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

Tensor argmax(const Tensor& input) try {
  const check::Argument x{"argmax", "input", input};
  check::is_floating(x);
  check::has_rank(x, 2, "[rows, columns]");
  if (input.size(1) < 1) throw Error(x.described() + ", expected at least one column");
  Tensor result = Tensor::empty({input.size(0)}, {.dtype = DType::int64, .device = input.device()});
  dispatch::run<kernels::ArgmaxKernels>(
      "forward", input.options(),
      Description().extents("", {input.size(0)}).extents(" rows of ", {input.size(1)}),
      [&](const auto& kernels) { compute(kernels.forward, input.size(0), input.size(1), input, result); });
  return result;
} catch (const std::bad_alloc&) {
  no_memory("argmax");
}

}  // namespace kg
