// SPDX-License-Identifier: MIT
#include "kernels/linear.h"

#include "bench.h"

namespace {

struct Case {
  std::int64_t rows, in, out;

  kg::kernels::LinearProblem problem() const {
    return {.rows = rows, .in_features = in, .out_features = out};
  }
  std::string name() const {
    return bench::shape_suffix({rows, in}) + bench::option_suffix("out", static_cast<double>(out), 0);
  }
  bench::Work work() const {
    return {.bytes = bench::float_bytes(rows * in + out * in + rows * out), .flops = 2 * rows * in * out};
  }
};

constexpr Case cases[] = {
    {.rows = 128, .in = 16, .out = 10},
    {.rows = 128, .in = 784, .out = 128},
    {.rows = 128, .in = 1024, .out = 1024},
    {.rows = 32, .in = 512, .out = 1000},
};

std::function<void()> forward(const Case& c) {
  return [input = bench::random_tensor({c.rows, c.in}), weight = bench::random_tensor({c.out, c.in})] {
    kg::linear(input, weight);
  };
}

std::function<void()> backward_input(const Case& c) {
  return
      [c, grad_output = bench::random_tensor({c.rows, c.out}), weight = bench::random_tensor({c.out, c.in})] {
        kg::Tensor grad_input = bench::empty({c.rows, c.in});
        bench::run<kg::kernels::LinearKernels>("backward_input", c.problem().description(),
                                               [&]<class T>(const kg::kernels::LinearKernels<T>& kernels) {
                                                 kernels.backward_input(c.problem(), kg::raw<T>(grad_output),
                                                                        kg::raw<T>(weight),
                                                                        kg::raw<T>(grad_input));
                                               });
      };
}

std::function<void()> backward_weight(const Case& c) {
  return
      [c, grad_output = bench::random_tensor({c.rows, c.out}), input = bench::random_tensor({c.rows, c.in})] {
        kg::Tensor grad_weight = bench::empty({c.out, c.in});
        bench::run<kg::kernels::LinearKernels>("backward_weight", c.problem().description(),
                                               [&]<class T>(const kg::kernels::LinearKernels<T>& kernels) {
                                                 kernels.backward_weight(c.problem(), kg::raw<T>(input),
                                                                         kg::raw<T>(grad_output),
                                                                         kg::raw<T>(grad_weight));
                                               });
      };
}

const bench::Registrar registrar([] {
  for (const Case& c : cases) {
    bench::add("linear_forward" + c.name(), c.work(), [c] { return forward(c); });
    bench::add("linear_backward_input" + c.name(), c.work(), [c] { return backward_input(c); });
    bench::add("linear_backward_weight" + c.name(), c.work(), [c] { return backward_weight(c); });
  }
});

}  // namespace
