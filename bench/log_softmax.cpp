// SPDX-License-Identifier: MIT
#include "kernels/log_softmax.h"

#include "bench.h"

namespace {

const kg::Shape shapes[] = {{128, 10}, {128, 1000}};

std::function<void()> forward(const kg::Shape& shape) {
  return [input = bench::random_tensor(shape)] { kg::log_softmax(input); };
}

std::function<void()> backward(const kg::Shape& shape) {
  return [shape, output = kg::log_softmax(bench::random_tensor(shape)),
          grad_output = bench::random_tensor(shape)] {
    kg::Tensor grad_input = bench::empty(shape);
    bench::run<kg::kernels::LogSoftmaxKernels>(
        "backward", kg::Description().extents("", shape),
        [&]<class T>(const kg::kernels::LogSoftmaxKernels<T>& kernels) {
          kernels.backward(shape[0], shape[1], kg::raw<T>(output), kg::raw<T>(grad_output),
                           kg::raw<T>(grad_input));
        });
  };
}

const bench::Registrar registrar([] {
  for (const kg::Shape& shape : shapes) {
    const std::int64_t count = kg::numel(shape);
    const std::string name = bench::shape_suffix(shape);
    bench::add("log_softmax_forward" + name, {.bytes = bench::float_bytes(2 * count)},
               [shape] { return forward(shape); });
    bench::add("log_softmax_backward" + name, {.bytes = bench::float_bytes(3 * count)},
               [shape] { return backward(shape); });
  }
});

}  // namespace
