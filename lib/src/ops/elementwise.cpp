#include "kernels/elementwise.h"

#include <algorithm>

#include "core/tensor_impl.h"
#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"
#include "ops/in_place.h"
#include "ops/reduce.h"

namespace kg {

namespace {

/// The strides of a contiguous tensor seen as `shape`: 0 along dimensions in which it is broadcast.
std::array<std::int64_t, kernels::max_rank> broadcast_strides(const Tensor& x, const Shape& shape) {
  std::array<std::int64_t, kernels::max_rank> strides{};
  const std::size_t missing = shape.size() - x.shape().size();
  std::int64_t stride = 1;
  for (std::size_t d = shape.size(); d-- > missing;) {
    const std::int64_t extent = x.shape()[d - missing];
    strides[d] = extent == 1 ? 0 : stride;
    stride *= extent;
  }
  return strides;
}

Shape broadcast_shape(std::string_view op, const Tensor& a, const Tensor& b) {
  check::is_floating({op, "a", a});
  check::matches({op, "b", b}, {op, "a", a});
  const std::size_t rank = std::max(a.shape().size(), b.shape().size());
  if (rank > kernels::max_rank)
    check::fail(op, "shapes " + to_string(a.shape()) + " and " + to_string(b.shape()) +
                        ", expected at most " + std::to_string(kernels::max_rank) +
                        " dimensions to broadcast");
  Shape shape(rank, 1);
  for (std::size_t from_end = 1; from_end <= rank; ++from_end) {
    const auto extent = [&](const Tensor& x) {
      return from_end <= x.shape().size() ? x.shape()[x.shape().size() - from_end] : 1;
    };
    if (extent(a) != extent(b) && extent(a) != 1 && extent(b) != 1)
      check::fail(op, "shapes " + to_string(a.shape()) + " and " + to_string(b.shape()) +
                          " cannot be broadcast together");
    shape[rank - from_end] = extent(a) == 1 ? extent(b) : extent(a);
  }
  checked_numel(op, shape);
  return shape;
}

kernels::BroadcastProblem broadcast_problem(const Tensor& a, const Tensor& b, const Shape& shape) {
  kernels::BroadcastProblem problem{.rank = static_cast<int>(shape.size()),
                                    .shape = {},
                                    .a_strides = broadcast_strides(a, shape),
                                    .b_strides = broadcast_strides(b, shape)};
  std::ranges::copy(shape, problem.shape.begin());
  return problem;
}

/// The gradient of a broadcast operand: summed over the dimensions along which it was repeated.
Tensor sum_to(const Tensor& gradient, const Shape& shape) {
  if (gradient.shape() == shape) return gradient;
  const std::size_t missing = gradient.shape().size() - shape.size();
  std::vector<bool> kept(gradient.shape().size());
  for (std::size_t d = missing; d < kept.size(); ++d) kept[d] = shape[d - missing] == gradient.shape()[d];
  return share_storage(reduce_sum(gradient, kept, 1), shape);
}

template <class Kernel>
Tensor combine(std::string_view op, const Tensor& a, const Tensor& b, const Kernel& kernel) {
  Shape shape = broadcast_shape(op, a, b);
  Tensor output = Tensor::empty(std::move(shape), a.options());
  if (output.numel() == 0) return output;
  const kernels::BroadcastProblem problem = broadcast_problem(a, b, output.shape());
  dispatch::run<kernels::ElementwiseKernels>(op, a.options(), problem.description(),
                                             [&]<class T>(const kernels::ElementwiseKernels<T>& kernels) {
                                               kernel(kernels, problem, raw<T>(a), raw<T>(b), raw<T>(output));
                                             });
  return output;
}

Tensor scaled(const Tensor& x, double factor) {
  Tensor output = Tensor::empty(x.shape(), x.options());
  dispatch::run<kernels::ElementwiseKernels>("scale", x.options(), Description().extents("", {x.numel()}),
                                             [&]<class T>(const kernels::ElementwiseKernels<T>& kernels) {
                                               kernels.scale(x.numel(), factor, raw<T>(x), raw<T>(output));
                                             });
  return output;
}

}  // namespace

void fill(Tensor& x, double value) {
  dispatch::run<kernels::ElementwiseKernels>("fill", x.options(), Description().extents("", {x.numel()}),
                                             [&]<class T>(const kernels::ElementwiseKernels<T>& kernels) {
                                               kernels.fill(x.numel(), value, raw<T>(x));
                                             });
}

void accumulate(const Tensor& x, Tensor& sum) {
  dispatch::run<kernels::ElementwiseKernels>("accumulate", x.options(),
                                             Description().extents("", {x.numel()}),
                                             [&]<class T>(const kernels::ElementwiseKernels<T>& kernels) {
                                               kernels.accumulate(x.numel(), raw<T>(x), raw<T>(sum));
                                             });
}

Tensor add(const Tensor& a, const Tensor& b) try {
  const Tensor output =
      combine("add", a, b, [](const auto& kernels, const auto& problem, auto* x, auto* y, auto* out) {
        kernels.add(problem, x, y, out);
      });
  return record("add", output, {a, b},
                [a_shape = a.shape(), b_shape = b.shape()](const BackwardCall& call) -> std::vector<Tensor> {
                  return {call.needs[0] ? sum_to(call.grad_output, a_shape) : Tensor(),
                          call.needs[1] ? sum_to(call.grad_output, b_shape) : Tensor()};
                });
} catch (const std::bad_alloc&) {
  no_memory("add");
}

Tensor mul(const Tensor& a, const Tensor& b) try {
  const Tensor output =
      combine("mul", a, b, [](const auto& kernels, const auto& problem, auto* x, auto* y, auto* out) {
        kernels.mul(problem, x, y, out);
      });
  const SavedTensor saved_a(b.requires_grad() ? a : Tensor(), "a"),
      saved_b(a.requires_grad() ? b : Tensor(), "b");
  const auto rule = [=, a_shape = a.shape(),
                     b_shape = b.shape()](const BackwardCall& call) -> std::vector<Tensor> {
    return {call.needs[0] ? sum_to(mul(call.grad_output, saved_b.unpack(call)), a_shape) : Tensor(),
            call.needs[1] ? sum_to(mul(call.grad_output, saved_a.unpack(call)), b_shape) : Tensor()};
  };
  return record("mul", output, {a, b}, rule);
} catch (const std::bad_alloc&) {
  no_memory("mul");
}

Tensor mul(const Tensor& x, double factor) try {
  check::is_floating({"mul", "x", x});
  return record("mul", scaled(x, factor), {x}, [factor](const BackwardCall& call) -> std::vector<Tensor> {
    return {scaled(call.grad_output, factor)};
  });
} catch (const std::bad_alloc&) {
  no_memory("mul");
}

}  // namespace kg
