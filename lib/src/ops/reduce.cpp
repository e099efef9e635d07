// SPDX-License-Identifier: MIT
#include "ops/reduce.h"

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "kernels/reduce.h"
#include "ops/check.h"

namespace kg {

Tensor reduce_sum(const Tensor& input, const std::vector<bool>& kept, double scale) {
  const TensorOptions like = input.options();
  Shape output_shape = input.shape();
  for (std::size_t d = 0; d < kept.size(); ++d)
    if (!kept[d]) output_shape[d] = 1;
  if (input.numel() == 0) return Tensor::full(std::move(output_shape), scale * 0, like);
  kernels::ReduceProblem problem{.rank = input.dim(), .shape = {}, .output_strides = {}, .output_count = 1};
  for (std::size_t d = output_shape.size(); d-- > 0;) {
    problem.shape[d] = input.shape()[d];
    problem.output_strides[d] = kept[d] ? problem.output_count : 0;
    problem.output_count *= output_shape[d];
  }
  Tensor output = Tensor::empty(std::move(output_shape), like);
  dispatch::run<kernels::ReduceKernels>("sum", like, problem.description(), [&](const auto& kernels) {
    compute(kernels.sum, problem, scale, input, output);
  });
  return output;
}

Tensor expand(const Tensor& input, const Shape& shape, double factor) {
  const NoGrad no_grad;
  const Tensor factors = Tensor::full(shape, factor, input.options());
  return mul(factors, input);
}

namespace {

std::vector<bool> kept_dimensions(std::string_view op, const Tensor& input, const std::vector<int>& dims) {
  check::is_floating({op, "input", input});
  if (input.dim() > kernels::max_rank)
    check::fail(op, "at most " + std::to_string(kernels::max_rank) +
                        " dimensions can be reduced, the input has shape " + to_string(input.shape()));
  std::vector<bool> kept(static_cast<std::size_t>(input.dim()), !dims.empty());
  for (const int dim : dims) {
    const int d = dim < 0 ? dim + input.dim() : dim;
    if (d < 0 || d >= input.dim())
      check::fail(op,
                  "there is no dimension " + std::to_string(dim) + " in shape " + to_string(input.shape()));
    if (!kept[static_cast<std::size_t>(d)])
      check::fail(op, "dim " + std::to_string(d) + " appears multiple times in dims " +
                          to_string(Shape(dims.begin(), dims.end())));
    kept[static_cast<std::size_t>(d)] = false;
  }
  return kept;
}

Tensor reduce(std::string_view op, const Tensor& input, const ReduceOptions& options, bool divide) try {
  const std::vector<bool> kept = kept_dimensions(op, input, options.dims);
  Shape keepdim_shape = input.shape(), squeezed_shape;
  double reduced = 1;  // not an integer: without elements it may be larger than those count
  for (std::size_t d = 0; d < kept.size(); ++d) {
    if (kept[d]) {
      squeezed_shape.push_back(keepdim_shape[d]);
    } else {
      reduced *= static_cast<double>(keepdim_shape[d]);
      keepdim_shape[d] = 1;
    }
  }
  checked_numel(op, keepdim_shape);
  const double scale = divide ? 1.0 / reduced : 1.0;
  const Tensor summed = reduce_sum(input, kept, scale);
  return record(std::string(op), share_storage(summed, options.keepdim ? keepdim_shape : squeezed_shape),
                {input}, [=, input_shape = input.shape()](const BackwardCall& call) -> std::vector<Tensor> {
                  return {expand(share_storage(call.grad_output, keepdim_shape), input_shape, scale)};
                });
} catch (const std::bad_alloc&) {
  no_memory(op);
}

}  // namespace

Tensor sum(const Tensor& input, const ReduceOptions& options) { return reduce("sum", input, options, false); }
Tensor mean(const Tensor& input, const ReduceOptions& options) {
  return reduce("mean", input, options, true);
}

}  // namespace kg
