// SPDX-License-Identifier: MIT
#include "kernels/cross_entropy.h"

#include "bench.h"

namespace {

const kg::Shape shapes[] = {{128, 10}, {128, 1000}, {10000, 1000}};

std::function<void()> forward(const kg::Shape& shape) {
  return [logits = bench::random_tensor(shape), labels = bench::labels_for(shape)] {
    kg::cross_entropy(logits, labels);
  };
}

std::function<void()> backward(const kg::Shape& shape) {
  return [shape, logits = bench::random_tensor(shape), labels = bench::labels_for(shape),
          grad_loss = kg::Tensor::ones({}, bench::options())] {
    kg::Tensor grad_logits = bench::empty(shape);
    bench::run<kg::kernels::CrossEntropyKernels>(
        "backward", kg::Description().extents("", shape),
        [&]<class T>(const kg::kernels::CrossEntropyKernels<T>& kernels) {
          kernels.backward(shape[0], shape[1], 1.0 / static_cast<double>(shape[0]), kg::raw<T>(grad_loss),
                           kg::raw<T>(logits), kg::raw<std::int64_t>(labels), kg::raw<T>(grad_logits));
        });
  };
}

const bench::Registrar registrar([] {
  for (const kg::Shape& shape : shapes) {
    const std::int64_t count = kg::numel(shape), label_bytes = 8 * shape[0];
    const std::string name = bench::shape_suffix(shape);
    bench::add("cross_entropy_forward" + name, {.bytes = bench::float_bytes(count) + label_bytes},
               [shape] { return forward(shape); });
    bench::add("cross_entropy_backward" + name, {.bytes = bench::float_bytes(2 * count) + label_bytes},
               [shape] { return backward(shape); });
  }
});

}  // namespace
