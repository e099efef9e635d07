// SPDX-License-Identifier: MIT
#include "cases/conv2d.h"
#include "reference/conv2d.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using kernels::Conv2dProblem;

/// What leads back from the output of the case's convolution to its input.
ConvTranspose2dOptions options_of(const Conv2dProblem& p) {
  const auto rest = [](std::int64_t in, std::int64_t padding, std::int64_t dilation, std::int64_t kernel,
                       std::int64_t stride) {
    return (in + 2 * padding - dilation * (kernel - 1) - 1) % stride;
  };
  return {.stride = {p.stride_h, p.stride_w},
          .padding = {p.padding_h, p.padding_w},
          .output_padding = {rest(p.h, p.padding_h, p.dilation_h, p.k_h, p.stride_h),
                             rest(p.w, p.padding_w, p.dilation_w, p.k_w, p.stride_w)},
          .dilation = {p.dilation_h, p.dilation_w},
          .groups = p.groups};
}

Function function_of(const Conv2dProblem& p) {
  return [p](const std::vector<Tensor>& t) { return conv_transpose2d(t[0], t[1], t[2], options_of(p)); };
}

std::vector<Tensor> inputs_of(const Conv2dProblem& p, DType dtype, Device device) {
  return {random({p.n, p.c_out, p.out_h(), p.out_w()}, dtype, 1, device),
          random({p.c_out, p.c_in / p.groups, p.k_h, p.k_w}, dtype, 2, device),
          random({p.c_in}, dtype, 3, device)};
}

TEST_CASE("conv_transpose2d is the transpose of conv2d, plus a bias", "[conv_transpose2d]") {
  const auto check = [](Device device, const Conv2dProblem& p) {
    for (const DType dtype : {DType::float32, DType::float64}) {
      const std::vector<Tensor> t = inputs_of(p, dtype, device);
      const std::vector<double> x(static_cast<std::size_t>(p.n * p.c_in * p.h * p.w));
      reference::Values expected = reference::conv2d_backward(p, x, to_doubles(t[1]), to_doubles(t[0])).input;
      const std::vector<double> bias = to_doubles(t[2]);
      for (std::size_t i = 0; i < expected.sum.size(); ++i)
        expected.add(static_cast<std::int64_t>(i),
                     bias[i / static_cast<std::size_t>(p.h * p.w) % static_cast<std::size_t>(p.c_in)]);
      const Tensor output = function_of(p)(t);
      CHECK(output.shape() == Shape{p.n, p.c_in, p.h, p.w});
      CHECK(difference(output, expected, dtype == DType::float32 ? 2e-6 : 1e-12) == "");
    }
  };
  for_each_case(cases::conv2d, check);
  for_each_case(cases::conv2d_unequal, check);
}

TEST_CASE("conv_transpose2d of one pixel takes any stride", "[conv_transpose2d]") {
  const Tensor input = random({2, 3, 1, 1}, DType::float64, 1),
               weight = random({3, 2, 3, 2}, DType::float64, 2);
  const Tensor expected =
      conv_transpose2d(input, weight, Tensor(), {.stride = {2, 2}, .output_padding = {1, 0}});
  for (const std::int64_t stride : {std::int64_t{3}, std::int64_t{1} << 20, std::int64_t{1} << 30}) {
    INFO("stride " << stride);
    const Tensor output =
        conv_transpose2d(input, weight, Tensor(), {.stride = {stride, stride}, .output_padding = {1, 0}});
    CHECK(output.shape() == expected.shape());
    CHECK(output.to_vector<double>() == expected.to_vector<double>());
  }
}

TEST_CASE("conv_transpose2d passes the gradient check", "[conv_transpose2d][gradcheck]") {
  const auto check = [](Device device, const Conv2dProblem& p) {
    const std::vector<Tensor> inputs = inputs_of(p, DType::float64, device);
    check_gradients(function_of(p), inputs);
    check_gradient_subsets(function_of(p), inputs);
  };
  for_each_case(cases::conv2d, check);
}

TEST_CASE("conv_transpose2d of nothing is the bias, with gradients of zero", "[conv_transpose2d]") {
  for (const Device device : devices()) {
    const TensorOptions options = {.dtype = DType::float64, .device = device};
    const Tensor w = random({0, 2, 3, 3}, DType::float64, 1, device).set_requires_grad();
    const Tensor bias = random({2}, DType::float64, 2, device).set_requires_grad();
    const Tensor y = conv_transpose2d(Tensor::zeros({2, 0, 4, 5}, options), w, bias);
    CHECK(y.shape() == Shape{2, 2, 6, 7});
    sum(y).backward();
    CHECK(w.grad().shape() == Shape{0, 2, 3, 3});
    CHECK(to_doubles(bias.grad()) == std::vector<double>{84, 84});
    CHECK(conv_transpose2d(Tensor::zeros({0, 3, 4, 5}, options),
                           random({3, 2, 3, 3}, DType::float64, 1, device))
              .shape() == Shape{0, 2, 6, 7});
  }
}

TEST_CASE("conv_transpose2d says what does not fit", "[conv_transpose2d][errors]") {
  const Tensor x = Tensor::zeros({1, 4, 3, 3}), w = Tensor::zeros({4, 2, 3, 3});
  check_error(
      [&] {
        conv_transpose2d(x, Tensor::zeros({3, 2, 3, 3}));
      },
      {"conv_transpose2d", "4 channels", "3"});
  check_error([&] { conv_transpose2d(x, w, {}, {.groups = 3}); }, {"conv_transpose2d", "3 groups"});
  check_error([&] { conv_transpose2d(x, w, {}, {.output_padding = 1}); },
              {"output_padding", "[1, 1]", "stride"});
  check_error(
      [&] {
        conv_transpose2d(x, w, {}, {.stride = 2, .output_padding = {0, -1}});
      },
      {"output_padding"});
  check_error([&] { conv_transpose2d(x, w, {}, {.padding = 3}); }, {"give an output of [-1, -1]"});
  check_error([&] { conv_transpose2d(x, w, {}, {.stride = 0}); }, {"stride", "0"});
  check_error([&] { conv_transpose2d(x, w, Tensor::zeros({4})); }, {"bias", "[2]"});
  check_error([&] { conv_transpose2d(x, Tensor::zeros({4, 2, 0, 3})); }, {"weight", "kernel"});
  check_error([&] { conv_transpose2d(Tensor::zeros({4, 3, 3}), w); }, {"input", "[n, c_in, h, w]"});
  check_error([&] { conv_transpose2d(x, w.to(DType::float64)); }, {"weight", "float32"});
  check_error([&] { conv_transpose2d(x, w, {}, {.stride = 1 << 30}); }, {"conv_transpose2d"});
}

}  // namespace
}  // namespace kg
