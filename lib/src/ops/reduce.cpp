// SPDX-License-Identifier: MIT
#include "ops/reduce.h"

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "kernels/reduce.h"
#include "ops/check.h"

namespace kg {

Tensor reduce_sum(const Tensor& x, const std::vector<bool>& kept, double scale) {
  const TensorOptions like = x.options();
  Shape output_shape = x.shape();
  for (std::size_t d = 0; d < kept.size(); ++d)
    if (!kept[d]) output_shape[d] = 1;
  if (x.numel() == 0) return Tensor::full(std::move(output_shape), scale * 0, like);
  kernels::ReduceProblem problem{.rank = x.dim(), .shape = {}, .output_strides = {}, .output_count = 1};
  for (std::size_t d = output_shape.size(); d-- > 0;) {
    problem.shape[d] = x.shape()[d];
    problem.output_strides[d] = kept[d] ? problem.output_count : 0;
    problem.output_count *= output_shape[d];
  }
  Tensor output = Tensor::empty(std::move(output_shape), like);
  dispatch::run<kernels::ReduceKernels>("sum", like, problem.description(), [&](const auto& kernels) {
    compute(kernels.sum, problem, scale, x, output);
  });
  return output;
}

Tensor expand(const Tensor& x, const Shape& shape, double factor) {
  const NoGrad no_grad;
  const Tensor factors = Tensor::full(shape, factor, x.options());
  return mul(factors, x);
}

namespace {

std::vector<bool> kept_dimensions(std::string_view op, const Tensor& x, const std::vector<int>& dims) {
  check::is_floating({op, "input", x});
  if (x.dim() > kernels::max_rank)
    check::fail(op, "at most " + std::to_string(kernels::max_rank) +
                        " dimensions can be reduced, the input has shape " + to_string(x.shape()));
  std::vector<bool> kept(static_cast<std::size_t>(x.dim()), !dims.empty());
  for (const int dim : dims) {
    const int d = dim < 0 ? dim + x.dim() : dim;
    if (d < 0 || d >= x.dim())
      check::fail(op, "there is no dimension " + std::to_string(dim) + " in shape " + to_string(x.shape()));
    if (!kept[static_cast<std::size_t>(d)])
      check::fail(op, "dim " + std::to_string(d) + " appears multiple times in dims " +
                          to_string(Shape(dims.begin(), dims.end())));
    kept[static_cast<std::size_t>(d)] = false;
  }
  return kept;
}

Tensor reduce(std::string_view op, const Tensor& x, const ReduceOptions& options, bool divide) try {
  const std::vector<bool> kept = kept_dimensions(op, x, options.dims);
  Shape keepdim_shape = x.shape(), squeezed_shape;
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
  const Tensor summed = reduce_sum(x, kept, scale);
  return record(std::string(op), share_storage(summed, options.keepdim ? keepdim_shape : squeezed_shape), {x},
                [=, input_shape = x.shape()](const BackwardCall& call) -> std::vector<Tensor> {
                  return {expand(share_storage(call.grad_output, keepdim_shape), input_shape, scale)};
                });
} catch (const std::bad_alloc&) {
  no_memory(op);
}

}  // namespace

Tensor sum(const Tensor& x, const ReduceOptions& options) { return reduce("sum", x, options, false); }
Tensor mean(const Tensor& x, const ReduceOptions& options) { return reduce("mean", x, options, true); }

}  // namespace kg
