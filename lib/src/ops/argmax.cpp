// SPDX-License-Identifier: MIT
#include "kernels/argmax.h"

#include "dispatch/kernels.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

Tensor argmax(const Tensor& x) try {
  const check::Argument input{"argmax", "input", x};
  check::is_floating(input);
  check::has_rank(input, 2, "[rows, columns]");
  if (x.size(1) < 1) throw Error(input.described() + ", expected at least one column");
  Tensor result = Tensor::empty({x.size(0)}, {.dtype = DType::int64, .device = x.device()});
  dispatch::run<kernels::ArgmaxKernels>(
      "forward", x.options(), Description().extents("", {x.size(0)}).extents(" rows of ", {x.size(1)}),
      [&](const auto& kernels) { compute(kernels.forward, x.size(0), x.size(1), x, result); });
  return result;
} catch (const std::bad_alloc&) {
  no_memory("argmax");
}

}  // namespace kg
