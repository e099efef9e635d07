// SPDX-License-Identifier: MIT
#include "kernels/avg_pool2d.h"

#include "pool2d.h"

namespace {

const bench::PoolCase cases[] = {
    {.input = {128, 10, 7, 7}, .k = 7, .stride = 7},  // s7_final
    {.input = {8, 64, 56, 56}, .k = 2, .stride = 2},
    {.input = {8, 64, 56, 56}, .k = 3, .stride = 1, .padding = 1},
};

std::function<void()> forward(const bench::PoolCase& c) {
  return [c, input = bench::random_tensor(c.input)] { kg::avg_pool2d(input, c.k, c.options()); };
}

std::function<void()> backward(const bench::PoolCase& c) {
  return [c, grad_output = bench::random_tensor(c.output())] {
    kg::Tensor grad_input = bench::empty(c.input);
    bench::run<kg::kernels::AvgPool2dKernels>(
        "backward", c.problem().description(), [&]<class T>(const kg::kernels::AvgPool2dKernels<T>& kernels) {
          kernels.backward(c.problem(), true, kg::raw<T>(grad_output), kg::raw<T>(grad_input));
        });
  };
}

const bench::Registrar registrar([] {
  for (const bench::PoolCase& c : cases) {
    const bench::Work work{.bytes = bench::float_bytes(kg::numel(c.input) + kg::numel(c.output()))};
    bench::add("avg_pool2d_forward" + c.name(), work, [c] { return forward(c); });
    bench::add("avg_pool2d_backward" + c.name(), work, [c] { return backward(c); });
  }
});

}  // namespace
