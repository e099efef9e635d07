#include "kernels/conv2d.h"

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

namespace {

kernels::Conv2dProblem checked_problem(const Tensor& input, const Tensor& weight, const Tensor& bias,
                                       const Conv2dOptions& options) {
  const check::Argument x{"conv2d", "input", input}, w{"conv2d", "weight", weight}, b{"conv2d", "bias", bias};
  check::is_floating(x);
  check::matches(w, x);
  check::has_rank(x, 4, "[n, c_in, h, w]");
  check::has_rank(w, 4, "[c_out, c_in / groups, k_h, k_w]");
  const auto [stride, padding, dilation, groups] = options;
  for (const std::int64_t value : {stride.h, stride.w}) check::is_sensible("conv2d", "stride", value, 1);
  for (const std::int64_t value : {dilation.h, dilation.w})
    check::is_sensible("conv2d", "dilation", value, 1);
  for (const std::int64_t value : {padding.h, padding.w}) check::is_sensible("conv2d", "padding", value, 0);
  const kernels::Conv2dProblem problem{.n = input.size(0),
                                       .c_in = input.size(1),
                                       .h = input.size(2),
                                       .w = input.size(3),
                                       .c_out = weight.size(0),
                                       .k_h = weight.size(2),
                                       .k_w = weight.size(3),
                                       .stride_h = stride.h,
                                       .stride_w = stride.w,
                                       .padding_h = padding.h,
                                       .padding_w = padding.w,
                                       .dilation_h = dilation.h,
                                       .dilation_w = dilation.w,
                                       .groups = groups};
  if (groups < 1 || problem.c_in % groups != 0 || problem.c_out % groups != 0)
    check::fail("conv2d", "groups = " + std::to_string(groups) + " does not divide " +
                              std::to_string(problem.c_in) + " input and " + std::to_string(problem.c_out) +
                              " output channels");
  if (weight.size(1) * groups != problem.c_in)
    check::fail("conv2d", "input " + to_string(input.shape()) + " has " + std::to_string(problem.c_in) +
                              " channels, weight " + to_string(weight.shape()) + " with groups = " +
                              std::to_string(groups) + " expects " + std::to_string(weight.size(1) * groups));
  if (problem.k_h < 1 || problem.k_w < 1 || problem.out_h() < 1 || problem.out_w() < 1 ||
      problem.h + 2 * padding.h < dilation.h * (problem.k_h - 1) + 1 ||
      problem.w + 2 * padding.w < dilation.w * (problem.k_w - 1) + 1)
    check::fail("conv2d", "the kernel of weight " + to_string(weight.shape()) + " does not fit into input " +
                              to_string(input.shape()) + " with its padding");
  if (bias.defined()) {
    check::matches(b, x);
    check::has_shape(b, {problem.c_out}, "[c_out]");
  }
  return problem;
}

}  // namespace

Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  const kernels::Conv2dProblem problem = checked_problem(input, weight, bias, options);
  const TensorOptions like = {.dtype = input.dtype(), .device = input.device()};
  Tensor output = Tensor::empty({problem.n, problem.c_out, problem.out_h(), problem.out_w()}, like);
  visit_floating(input, "conv2d", [&]<class T>(Type<T>) {
    KG_CHOSEN_KERNELS(conv2d, T, input.device())
        .forward(problem, raw<T>(input), raw<T>(weight), raw<T>(bias), raw<T>(output), {});
  });
  // The weight's gradient needs the input and the other way round: each is saved only if the other's is
  // wanted.
  const bool with_bias = bias.defined();
  const Tensor saved_input = weight.requires_grad() ? input : Tensor();
  const Tensor saved_weight = input.requires_grad() ? weight : Tensor();
  const auto rule = [=](const BackwardCall& call) {
    std::vector<Tensor> gradients(3);
    visit_floating(call.grad_output, "conv2d", [&]<class T>(Type<T>) {
      const auto& kernels = KG_CHOSEN_KERNELS(conv2d, T, like.device);
      const T* grad_output = raw<T>(call.grad_output);
      if (call.needs[0]) {
        gradients[0] = Tensor::empty({problem.n, problem.c_in, problem.h, problem.w}, like);
        kernels.backward_input(problem, grad_output, raw<T>(saved_weight), raw<T>(gradients[0]), {});
      }
      if (call.needs[1]) {
        gradients[1] =
            Tensor::empty({problem.c_out, problem.c_in / problem.groups, problem.k_h, problem.k_w}, like);
        kernels.backward_weight(problem, raw<T>(saved_input), grad_output, raw<T>(gradients[1]), {});
      }
      if (with_bias && call.needs[2]) {
        gradients[2] = Tensor::empty({problem.c_out}, like);
        kernels.backward_bias(problem, grad_output, raw<T>(gradients[2]), {});
      }
    });
    return gradients;
  };
  return record("conv2d", output, {input, weight, bias}, rule);
}

}  // namespace kg
