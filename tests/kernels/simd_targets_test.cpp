// SPDX-License-Identifier: MIT
#include <cmath>
#include <limits>
#include <span>

#include "cases/batch_norm.h"
#include "cases/conv2d.h"
#include "cases/linear.h"
#include "reference/batch_norm.h"
#include "reference/conv2d.h"
#include "reference/linear.h"
#include "simd_targets.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;

void check_conv2d(std::span<const kernels::Conv2dProblem> problems) {
  for (const DType dtype : {DType::float32, DType::float64})
    for (const kernels::Conv2dProblem& p : problems) {
      INFO(describe(p));
      const double tolerance = dtype == DType::float32 ? 2e-6 : 1e-12;
      const std::vector<Tensor> inputs =
          requiring({random({p.n, p.c_in, p.h, p.w}, dtype, 1),
                     random({p.c_out, p.c_in / p.groups, p.k_h, p.k_w}, dtype, 2)});
      const Run actual = run(
          [&](const std::vector<Tensor>& t) {
            return conv2d(t[0], t[1],
                          {.stride = {p.stride_h, p.stride_w},
                           .padding = {p.padding_h, p.padding_w},
                           .dilation = {p.dilation_h, p.dilation_w},
                           .groups = p.groups});
          },
          inputs);
      const std::vector<double> x = to_doubles(inputs[0]), w = to_doubles(inputs[1]);
      CHECK(difference(actual.output, reference::conv2d(p, x, w, {}), tolerance) == "");
      const auto expected =
          reference::conv2d_backward(p, x, w, to_doubles(random(actual.output.shape(), dtype, 99)));
      CHECK(difference(actual.gradients[0], expected.input, tolerance) == "");
      CHECK(difference(actual.gradients[1], expected.weight, tolerance) == "");
    }
}

TEST_CASE("Every instruction set computes conv2d and its gradients", "[simd][native][conv2d]") {
  for_each_target([] {
    check_conv2d(cases::conv2d);
    check_conv2d(cases::conv2d_channels);
  });
}

TEST_CASE("Every instruction set computes linear", "[simd][native][linear]") {
  for_each_target([] {
    for (const kernels::LinearProblem& p : cases::linear) {
      INFO(describe(p));
      const Tensor x = random({p.rows, p.in_features}, DType::float32, 1);
      const Tensor w = random({p.out_features, p.in_features}, DType::float32, 2);
      CHECK(difference(linear(x, w), reference::linear(p, to_doubles(x), to_doubles(w), {}), 2e-6) == "");
    }
  });
}

TEST_CASE("Every instruction set computes batch_norm and its gradients", "[simd][native][batch_norm]") {
  const DType dtype = GENERATE(DType::float32, DType::float64);
  const double tolerance = dtype == DType::float32 ? 5e-7 : 2e-15;
  for_each_target([&] {
    for (kernels::BatchNormProblem p : cases::batch_norm)
      for (const bool relu : {false, true}) {
        p.relu_before = p.relu_after = relu;
        INFO(describe(p));
        const std::vector<Tensor> inputs =
            requiring({random({p.n, p.channels, p.plane}, dtype, 1), random({p.channels}, dtype, 2),
                       random({p.channels}, dtype, 3)});
        const Run actual = run(
            [&](const std::vector<Tensor>& t) {
              return batch_norm(
                  t[0], t[1], t[2], {}, {},
                  {.training = true, .epsilon = p.epsilon, .relu_before = relu, .relu_after = relu});
            },
            inputs);
        const std::vector<double> x = to_doubles(inputs[0]), gamma = to_doubles(inputs[1]),
                                  beta = to_doubles(inputs[2]);
        const auto moments = reference::batch_moments(p, x);
        reference::Values output = reference::batch_norm(p, moments, x, gamma, beta);
        for (double& value : output.sum) value = relu ? std::max(value, 0.0) : value;
        CHECK(difference(actual.output, output, tolerance) == "");
        const auto expected = reference::batch_norm_backward(
            p, moments, true, x, gamma, beta, to_doubles(random(actual.output.shape(), dtype, 99)));
        CHECK(difference(actual.gradients[0], expected.input, tolerance) == "");
        CHECK(difference(actual.gradients[1], expected.gamma, tolerance) == "");
        CHECK(difference(actual.gradients[2], expected.beta, tolerance) == "");
      }
  });
}

/// Forward and gradient of pooling by pairs, over rows of every remainder, with a NaN and equal elements.
std::vector<Tensor> max_pool2d_results(DType dtype) {
  std::vector<Tensor> results;
  for (std::int64_t w = 2; w <= 70; ++w) {
    Tensor x = random({2, 3, 5, w}, DType::float64, static_cast<std::uint32_t>(w));
    double* elements = x.data<double>();
    for (std::int64_t i = 0; i < x.numel(); ++i) elements[i] = std::round(4 * elements[i]);
    elements[w] = std::numeric_limits<double>::quiet_NaN();
    const Run one =
        run([](const std::vector<Tensor>& t) { return max_pool2d(t[0], 2); }, requiring({x.to(dtype)}));
    results.push_back(one.output);
    results.push_back(one.gradients[0]);
  }
  return results;
}

TEST_CASE("Every instruction set pools alike, bit by bit", "[simd][native][max_pool2d]") {
  const DType dtype = GENERATE(DType::float32, DType::float64);
  const std::vector<Tensor> expected = max_pool2d_results(dtype);
  for_each_target([&] {
    const std::vector<Tensor> actual = max_pool2d_results(dtype);
    for (std::size_t i = 0; i < actual.size(); ++i) CHECK(same_bits(actual[i], expected[i]));
  });
}

TEST_CASE("Every instruction set draws the same dropout, bit by bit", "[simd][dropout]") {
  const auto masks = [] {
    std::vector<Tensor> drawn;
    for (std::int64_t count = 1; count <= 70; ++count) {
      Generator generator(static_cast<std::uint64_t>(count) << 30);
      drawn.push_back(dropout(Tensor::ones({count}), 0.5, generator));
    }
    return drawn;
  };
  const std::vector<Tensor> expected = masks();
  for_each_target([&] {
    const std::vector<Tensor> actual = masks();
    for (std::size_t i = 0; i < actual.size(); ++i) CHECK(same_bits(actual[i], expected[i]));
  });
}

}  // namespace
}  // namespace kg
