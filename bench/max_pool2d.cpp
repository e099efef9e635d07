// SPDX-License-Identifier: MIT
#include "kernels/max_pool2d.h"

#include "pool2d.h"

namespace {

const bench::PoolCase cases[] = {
    {.input = {128, 8, 22, 22}, .k = 2, .stride = 2},                 // s7_final
    {.input = {8, 64, 112, 112}, .k = 3, .stride = 2, .padding = 1},  // ResNet's stem
};

std::function<void()> forward(const bench::PoolCase& c) {
  return [c, input = bench::random_tensor(c.input)] { kg::max_pool2d(input, c.k, c.options()); };
}

std::function<void()> backward(const bench::PoolCase& c) {
  const kg::Tensor input = bench::random_tensor(c.input);
  kg::Tensor output = bench::empty(c.output());
  kg::Tensor argmax = bench::empty(c.output(), kg::DType::int32);
  using kg::kernels::MaxPool2dKernels;
  const kg::Backend backend = kg::dispatch::run<MaxPool2dKernels>(
      "forward", bench::options(), c.problem().description(),
      [&]<class T>(const MaxPool2dKernels<T>& kernels) {
        kernels.forward(c.problem(), kg::raw<T>(input), kg::raw<T>(output), kg::raw<std::int32_t>(argmax));
      });
  const auto& kernels = kg::dispatch::table_of<MaxPool2dKernels, float>(backend, bench::device());
  return [c, &kernels, input, output, argmax, grad_output = bench::random_tensor(c.output())] {
    kg::Tensor grad_input = bench::empty(c.input);
    kernels.backward(c.problem(), kg::raw<float>(input), kg::raw<float>(output), kg::raw<float>(grad_output),
                     kg::raw<std::int32_t>(argmax), kg::raw<float>(grad_input));
  };
}

const bench::Registrar registrar([] {
  for (const bench::PoolCase& c : cases) {
    // The winners' indices are a second output, of 4 bytes each.
    const bench::Work work{.bytes = bench::float_bytes(kg::numel(c.input) + 2 * kg::numel(c.output()))};
    bench::add("max_pool2d_forward" + c.name(), work, [c] { return forward(c); });
    bench::add("max_pool2d_backward" + c.name(), work, [c] { return backward(c); });
  }
});

}  // namespace
