// SPDX-License-Identifier: MIT
#include "kernels/dropout.h"

#include "core/capture.h"
#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"
#include "ops/draw_mask.h"

namespace kg {

kernels::DropoutProblem draw_mask(double p, Generator& generator) {
  Capture* capture = Capture::active();
  const std::uint64_t* base = capture ? capture->note_draw(generator) : nullptr;
  return {.p = p, .seed = generator.seed(), .offset = generator.draw(), .offset_base = base};
}

Tensor dropout(const Tensor& input, double p, Generator& generator) try {
  check::is_floating({"dropout", "input", input});
  check::is_probability("dropout", "p", p);
  if (p == 0) return input;
  const kernels::DropoutProblem problem = draw_mask(p, generator);
  const auto apply = [problem](const Tensor& values) {
    Tensor result = unwritten(values.shape(), values.options());
    dispatch::run<kernels::DropoutKernels>(
        "apply", values.options(), Description().extents("", {values.numel()}),
        [&](const auto& kernels) { compute(kernels.apply, problem, values.numel(), values, result); });
    return result;
  };
  return record("dropout", apply(input), {input}, [apply](const BackwardCall& call) -> std::vector<Tensor> {
    return {apply(call.grad_output)};
  });
} catch (const std::bad_alloc&) {
  no_memory("dropout");
}

}  // namespace kg
