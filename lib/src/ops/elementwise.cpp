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

Description count_of(const Tensor& input) { return Description().extents("", {input.numel()}); }

template <class Function>
Tensor apply(const Function& function, const Tensor& input) try {
  check::is_floating({Function::name, "input", input});
  Tensor output = unwritten(input.shape(), input.options());
  dispatch::run<ElementwiseKernels>(
      Function::name, input.options(), count_of(input),
      [&](const auto& kernels) { compute(kernels.unary, function, input.numel(), input, output); });
  const SavedTensor saved = Function::saves == Saves::input    ? SavedTensor(input, "input")
                            : Function::saves == Saves::output ? SavedTensor(output, "output")
                                                               : SavedTensor(Tensor(), "nothing");
  const auto rule = [=](const BackwardCall& call) -> std::vector<Tensor> {
    const Tensor known = saved.unpack(call), &grad_output = call.grad_output;
    Tensor gradient = unwritten(grad_output.shape(), grad_output.options());
    dispatch::run<ElementwiseKernels>(
        Function::name, gradient.options(), count_of(gradient).note(", backward"), [&](const auto& kernels) {
          compute(kernels.unary_backward, function, gradient.numel(), known, grad_output, gradient);
        });
    return {gradient};
  };
  return record(Function::name, output, {input}, rule);
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

Tensor relu(const Tensor& input) { return apply(kernels::Relu(), input); }
Tensor leaky_relu(const Tensor& input, double negative_slope) {
  return apply(kernels::LeakyRelu{negative_slope}, input);
}
Tensor elu(const Tensor& input, double alpha) { return apply(kernels::Elu{alpha}, input); }
Tensor sigmoid(const Tensor& input) { return apply(kernels::Sigmoid(), input); }
Tensor tanh(const Tensor& input) { return apply(kernels::Tanh(), input); }
Tensor softplus(const Tensor& input, const SoftplusOptions& options) {
  return apply(kernels::Softplus{options.beta, options.threshold}, input);
}
Tensor gelu(const Tensor& input) { return apply(kernels::Gelu(), input); }
Tensor silu(const Tensor& input) { return apply(kernels::Silu(), input); }
Tensor hardswish(const Tensor& input) { return apply(kernels::Hardswish(), input); }
Tensor exp(const Tensor& input) { return apply(kernels::Exp(), input); }
Tensor log(const Tensor& input) { return apply(kernels::Log(), input); }
Tensor sqrt(const Tensor& input) { return apply(kernels::Sqrt(), input); }
Tensor square(const Tensor& input) { return apply(kernels::Square(), input); }
Tensor abs(const Tensor& input) { return apply(kernels::Abs(), input); }
Tensor neg(const Tensor& input) { return apply(kernels::Neg(), input); }
Tensor pow(const Tensor& input, double exponent) { return apply(kernels::Pow{exponent}, input); }
Tensor clamp(const Tensor& input, const ClampOptions& options) {
  return apply(kernels::Clamp{options.min, options.max}, input);
}

Tensor add(const Tensor& a, const Tensor& b) { return combine(kernels::Add(), a, b); }
Tensor sub(const Tensor& a, const Tensor& b) { return combine(kernels::Sub(), a, b); }
Tensor mul(const Tensor& a, const Tensor& b) { return combine(kernels::Mul(), a, b); }
Tensor div(const Tensor& a, const Tensor& b) { return combine(kernels::Div(), a, b); }
Tensor maximum(const Tensor& a, const Tensor& b) { return combine(kernels::Maximum(), a, b); }
Tensor minimum(const Tensor& a, const Tensor& b) { return combine(kernels::Minimum(), a, b); }

Tensor add(const Tensor& input, double number) { return apply(kernels::AddNumber{number}, input); }
Tensor sub(const Tensor& input, double number) { return apply(kernels::SubtractNumber{number}, input); }
Tensor sub(double number, const Tensor& input) { return apply(kernels::SubtractFrom{number}, input); }
Tensor mul(const Tensor& input, double factor) { return apply(kernels::MultiplyBy{factor}, input); }
Tensor div(const Tensor& input, double number) { return apply(kernels::DivideBy{number}, input); }
Tensor div(double number, const Tensor& input) { return apply(kernels::DivideInto{number}, input); }

}  // namespace kg
