// SPDX-License-Identifier: MIT
#include "kernels/global_avg_pool2d.h"

#include "bench.h"

namespace {

const kg::Shape shapes[] = {{128, 10, 7, 7}, {128, 16, 7, 7}, {32, 512, 7, 7}};

std::function<void()> forward(const kg::Shape& shape) {
  return [input = bench::random_tensor(shape)] { kg::global_avg_pool2d(input); };
}

std::function<void()> backward(const kg::Shape& shape) {
  return [shape, grad_output = bench::random_tensor({shape[0], shape[1], 1, 1})] {
    kg::Tensor grad_input = bench::empty(shape);
    bench::run<kg::kernels::GlobalAvgPool2dKernels>(
        "backward", kg::Description().extents("", shape),
        [&]<class T>(const kg::kernels::GlobalAvgPool2dKernels<T>& kernels) {
          kernels.backward(shape[0] * shape[1], shape[2] * shape[3], kg::raw<T>(grad_output),
                           kg::raw<T>(grad_input));
        });
  };
}

const bench::Registrar registrar([] {
  for (const kg::Shape& shape : shapes) {
    const bench::Work work{.bytes = bench::float_bytes(kg::numel(shape) + shape[0] * shape[1])};
    const std::string name = bench::shape_suffix(shape);
    bench::add("global_avg_pool2d_forward" + name, work, [shape] { return forward(shape); });
    bench::add("global_avg_pool2d_backward" + name, work, [shape] { return backward(shape); });
  }
});

}  // namespace
