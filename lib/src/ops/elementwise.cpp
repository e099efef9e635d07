// SPDX-License-Identifier: MIT
#include "kernels/elementwise.h"

#include <algorithm>

#include "dispatch/kernels.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"
#include "ops/in_place.h"
#include "ops/reduce.h"

namespace kg {

namespace {

/// The strides of a contiguous tensor seen as `shape`: 0 along dimensions in which it is broadcast.
std::array<std::int64_t, kernels::max_rank> broadcast_strides(const Shape& operand, const Shape& shape) {
  std::array<std::int64_t, kernels::max_rank> strides{};
  const std::size_t missing = shape.size() - operand.size();
  std::int64_t stride = 1;
  for (std::size_t d = shape.size(); d-- > missing;) {
    const std::int64_t extent = operand[d - missing];
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

kernels::BroadcastProblem broadcast_problem(const Shape& a, const Shape& b, const Shape& shape) {
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

using kernels::BinaryFunction;
using kernels::BroadcastProblem;
using kernels::ElementwiseKernels;
using kernels::Saves;
using kernels::UnaryFunction;

Description count_of(const Tensor& x) { return Description().extents("", {x.numel()}); }

template <class Function>
Tensor apply(const Function& function, const Tensor& x) try {
  check::is_floating({Function::name, "input", x});
  Tensor output = Tensor::empty(x.shape(), x.options());
  dispatch::run<ElementwiseKernels>(Function::name, x.options(), count_of(x), [&](const auto& kernels) {
    compute(kernels.unary, function, x.numel(), x, output);
  });
  const SavedTensor saved = Function::saves == Saves::input    ? SavedTensor(x, "input")
                            : Function::saves == Saves::output ? SavedTensor(output, "output")
                                                               : SavedTensor(Tensor(), "nothing");
  const auto rule = [=](const BackwardCall& call) -> std::vector<Tensor> {
    const Tensor known = saved.unpack(call), &grad_output = call.grad_output;
    Tensor gradient = Tensor::empty(grad_output.shape(), grad_output.options());
    dispatch::run<ElementwiseKernels>(
        Function::name, gradient.options(), count_of(gradient).note(", backward"), [&](const auto& kernels) {
          compute(kernels.unary_backward, function, gradient.numel(), known, grad_output, gradient);
        });
    return {gradient};
  };
  return record(Function::name, output, {x}, rule);
} catch (const std::bad_alloc&) {
  no_memory(Function::name);
}

/// The gradient of one operand, as long as the output. An operand that is not saved is not read; the incoming
/// gradient, which is, stands in for it.
template <class Function>
Tensor operand_gradient(const Function& function, bool of_first, const Tensor& saved_a, const Tensor& saved_b,
                        const Tensor& grad_output) {
  if (of_first ? Function::passes_first : Function::passes_second) return grad_output;
  Tensor gradient = Tensor::empty(grad_output.shape(), grad_output.options());
  if (gradient.numel() == 0) return gradient;
  const Tensor &a = saved_a.defined() ? saved_a : grad_output, &b = saved_b.defined() ? saved_b : grad_output;
  const BroadcastProblem problem = broadcast_problem(a.shape(), b.shape(), gradient.shape());
  dispatch::run<ElementwiseKernels>(
      Function::name, gradient.options(),
      problem.description().note(of_first ? ", backward of the first" : ", backward of the second"),
      [&](const auto& kernels) {
        compute(kernels.binary_backward, function, problem, of_first, a, b, grad_output, gradient);
      });
  return gradient;
}

template <class Function>
Tensor combine(const Function& function, const Tensor& a, const Tensor& b) try {
  const Shape shape = broadcast_shape(Function::name, a, b);
  Tensor output = Tensor::empty(shape, a.options());
  if (output.numel() > 0) {
    const BroadcastProblem problem = broadcast_problem(a.shape(), b.shape(), shape);
    dispatch::run<ElementwiseKernels>(
        Function::name, a.options(), problem.description(),
        [&](const auto& kernels) { compute(kernels.binary, function, problem, a, b, output); });
  }
  const bool saves_a = Function::saves_first(a.requires_grad(), b.requires_grad()),
             saves_b = Function::saves_second(a.requires_grad(), b.requires_grad());
  const SavedTensor saved_a(saves_a ? a : Tensor(), "a"), saved_b(saves_b ? b : Tensor(), "b");
  const auto rule = [=, a_shape = a.shape(),
                     b_shape = b.shape()](const BackwardCall& call) -> std::vector<Tensor> {
    const Tensor x = saved_a.unpack(call), y = saved_b.unpack(call);
    const auto gradient = [&](bool of_first, const Shape& operand) {
      return sum_to(operand_gradient(function, of_first, x, y, call.grad_output), operand);
    };
    return {call.needs[0] ? gradient(true, a_shape) : Tensor(),
            call.needs[1] ? gradient(false, b_shape) : Tensor()};
  };
  return record(Function::name, output, {a, b}, rule);
} catch (const std::bad_alloc&) {
  no_memory(Function::name);
}

}  // namespace

void fill(Tensor& x, double value) {
  dispatch::run<ElementwiseKernels>("fill", x.options(), count_of(x),
                                    [&](const auto& kernels) { compute(kernels.fill, x.numel(), value, x); });
}

void accumulate(const Tensor& x, Tensor& sum) {
  dispatch::run<ElementwiseKernels>("accumulate", x.options(), count_of(x), [&](const auto& kernels) {
    compute(kernels.binary, kernels::Add(), BroadcastProblem::flat(x.numel()), sum, x, sum);
  });
}

Tensor relu(const Tensor& x) { return apply(kernels::Relu(), x); }
Tensor leaky_relu(const Tensor& x, double negative_slope) {
  return apply(kernels::LeakyRelu{negative_slope}, x);
}
Tensor elu(const Tensor& x, double alpha) { return apply(kernels::Elu{alpha}, x); }
Tensor sigmoid(const Tensor& x) { return apply(kernels::Sigmoid(), x); }
Tensor tanh(const Tensor& x) { return apply(kernels::Tanh(), x); }
Tensor softplus(const Tensor& x, const SoftplusOptions& options) {
  return apply(kernels::Softplus{options.beta, options.threshold}, x);
}
Tensor gelu(const Tensor& x) { return apply(kernels::Gelu(), x); }
Tensor silu(const Tensor& x) { return apply(kernels::Silu(), x); }
Tensor hardswish(const Tensor& x) { return apply(kernels::Hardswish(), x); }
Tensor exp(const Tensor& x) { return apply(kernels::Exp(), x); }
Tensor log(const Tensor& x) { return apply(kernels::Log(), x); }
Tensor sqrt(const Tensor& x) { return apply(kernels::Sqrt(), x); }
Tensor square(const Tensor& x) { return apply(kernels::Square(), x); }
Tensor abs(const Tensor& x) { return apply(kernels::Abs(), x); }
Tensor neg(const Tensor& x) { return apply(kernels::Neg(), x); }
Tensor pow(const Tensor& x, double exponent) { return apply(kernels::Pow{exponent}, x); }
Tensor clamp(const Tensor& x, const ClampOptions& options) {
  return apply(kernels::Clamp{options.min, options.max}, x);
}

Tensor add(const Tensor& a, const Tensor& b) { return combine(kernels::Add(), a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return combine(kernels::Sub(), a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return combine(kernels::Mul(), a, b); }
Tensor div(const Tensor& a, const Tensor& b) { return combine(kernels::Div(), a, b); }
Tensor maximum(const Tensor& a, const Tensor& b) { return combine(kernels::Maximum(), a, b); }
Tensor minimum(const Tensor& a, const Tensor& b) { return combine(kernels::Minimum(), a, b); }

Tensor add(const Tensor& x, double number) { return apply(kernels::AddNumber{number}, x); }
Tensor sub(const Tensor& x, double number) { return apply(kernels::SubtractNumber{number}, x); }
Tensor sub(double number, const Tensor& x) { return apply(kernels::SubtractFrom{number}, x); }
Tensor mul(const Tensor& x, double factor) { return apply(kernels::MultiplyBy{factor}, x); }
Tensor div(const Tensor& x, double number) { return apply(kernels::DivideBy{number}, x); }
Tensor div(double number, const Tensor& x) { return apply(kernels::DivideInto{number}, x); }

}  // namespace kg
