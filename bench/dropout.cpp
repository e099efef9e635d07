// SPDX-License-Identifier: MIT
#include "kernels/dropout.h"

#include "bench.h"

namespace {

constexpr double p = 0.1;

std::function<void()> forward(const kg::Shape& shape) {
  return [input = bench::random_tensor(shape)] { kg::dropout(input, p); };
}

std::function<void()> backward(const kg::Shape& shape) {
  return [grad_output = bench::random_tensor(shape)] {
    kg::Tensor grad_input = bench::empty(grad_output.shape());
    bench::run<kg::kernels::DropoutKernels>("apply", bench::count(grad_output.numel()),
                                            [&]<class T>(const kg::kernels::DropoutKernels<T>& kernels) {
                                              kernels.apply({.p = p}, grad_output.numel(),
                                                            kg::raw<T>(grad_output), kg::raw<T>(grad_input));
                                            });
  };
}

const bench::Registrar registrar([] {
  for (const kg::Shape& shape : bench::activation_shapes) {
    const bench::Work work{.bytes = bench::float_bytes(2 * kg::numel(shape))};
    const std::string name = bench::shape_suffix(shape) + bench::option_suffix("p", p, 0);
    bench::add("dropout_forward" + name, work, [shape] { return forward(shape); });
    bench::add("dropout_backward" + name, work, [shape] { return backward(shape); });
  }
});

}  // namespace
