// SPDX-License-Identifier: MIT
#include "ops/pool2d.h"

#include "core/tensor_impl.h"

namespace kg {

kernels::Pool2dProblem pool2d_problem(std::string_view op, const Tensor& x, Pair kernel,
                                      const PoolOptions& options) {
  const check::Argument input{op, "input", x};
  check::is_floating(input);
  check::has_rank(input, 4, "[n, c, h, w]");
  const auto [stride, padding] = std::pair(options.stride, options.padding);
  check::options(op, kernel, options);
  check::has_images(input);
  if (x.size(2) + 2 * padding.h < kernel.h || x.size(3) + 2 * padding.w < kernel.w)
    throw Error(input.described() + ", too small for a kernel of " + to_string(Shape{kernel.h, kernel.w}) +
                " with padding " + to_string(Shape{padding.h, padding.w}));
  return {.planes = checked_numel(op, {x.size(0), x.size(1)}),
          .h = x.size(2),
          .w = x.size(3),
          .k_h = kernel.h,
          .k_w = kernel.w,
          .stride_h = stride.h ? stride.h : kernel.h,
          .stride_w = stride.w ? stride.w : kernel.w,
          .padding_h = padding.h,
          .padding_w = padding.w};
}

}  // namespace kg
