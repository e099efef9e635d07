#include "kernels/linear.h"

#include "core/dispatch.h"
#include "core/tensor_impl.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

namespace {

void check_arguments(const Tensor& input, const Tensor& weight, const Tensor& bias) {
  const check::Argument x{"linear", "input", input}, w{"linear", "weight", weight}, b{"linear", "bias", bias};
  check::is_floating(x);
  check::matches(w, x);
  check::has_rank(w, 2, "[out_features, in_features]");
  if (input.dim() < 1 || input.size(-1) != weight.size(1))
    throw Error(x.described() + ", expected [..., " + std::to_string(weight.size(1)) + "] to fit weight " +
                to_string(weight.shape()));
  if (!bias.defined()) return;
  check::matches(b, x);
  check::has_shape(b, {weight.size(0)}, "[out_features]");
}

}  // namespace

Tensor linear(const Tensor& input, const Tensor& weight, const Tensor& bias) try {
  check_arguments(input, weight, bias);
  Shape output_shape = input.shape();
  output_shape.back() = weight.size(0);
  const std::int64_t rows = checked_numel("linear", Shape(output_shape.begin(), output_shape.end() - 1));
  const kernels::LinearProblem problem{
      .rows = rows, .in_features = weight.size(1), .out_features = weight.size(0)};
  const TensorOptions like = {.dtype = input.dtype(), .device = input.device()};
  Tensor output = Tensor::empty(output_shape, like);
  visit_floating(input, "linear", [&]<class T>(Type<T>) {
    KG_CHOSEN_KERNELS(linear, T, like.device)
        .forward(problem, raw<T>(input), raw<T>(weight), raw<T>(bias), raw<T>(output), {});
  });
  const bool with_bias = bias.defined();
  const SavedTensor saved_input(weight.requires_grad() ? input : Tensor(), "input");
  const SavedTensor saved_weight(input.requires_grad() ? weight : Tensor(), "weight");
  const auto rule = [=, input_shape = input.shape()](const BackwardCall& call) {
    std::vector<Tensor> gradients(3);
    visit_floating(call.grad_output, "linear", [&]<class T>(Type<T>) {
      const auto& kernels = KG_CHOSEN_KERNELS(linear, T, like.device);
      const T* grad_output = raw<T>(call.grad_output);
      if (call.needs[0]) {
        gradients[0] = Tensor::empty(input_shape, like);
        kernels.backward_input(problem, grad_output, raw<T>(saved_weight.unpack(call)), raw<T>(gradients[0]),
                               {});
      }
      if (call.needs[1]) {
        gradients[1] = Tensor::empty({problem.out_features, problem.in_features}, like);
        kernels.backward_weight(problem, raw<T>(saved_input.unpack(call)), grad_output, raw<T>(gradients[1]),
                                {});
      }
      if (with_bias && call.needs[2]) {
        gradients[2] = Tensor::empty({problem.out_features}, like);
        kernels.backward_bias(problem, grad_output, raw<T>(gradients[2]), {});
      }
    });
    return gradients;
  };
  return record("linear", output, {input, weight, bias}, rule);
} catch (const std::bad_alloc&) {
  no_memory("linear");
}

}  // namespace kg
