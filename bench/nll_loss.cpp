// SPDX-License-Identifier: MIT
#include "kernels/nll_loss.h"

#include "bench.h"

namespace {

const kg::Shape shapes[] = {{128, 10}, {128, 1000}};

std::function<void()> forward(const kg::Shape& shape) {
  return [input = bench::random_tensor(shape), labels = bench::labels_for(shape)] {
    kg::nll_loss(input, labels);
  };
}

std::function<void()> backward(const kg::Shape& shape) {
  return [shape, labels = bench::labels_for(shape), grad_loss = kg::Tensor::ones({}, bench::options())] {
    kg::Tensor grad_input = bench::empty(shape);
    bench::run<kg::kernels::NllLossKernels>(
        "backward", kg::Description().extents("", shape),
        [&]<class T>(const kg::kernels::NllLossKernels<T>& kernels) {
          kernels.backward(shape[0], shape[1], 1.0 / static_cast<double>(shape[0]), kg::raw<T>(grad_loss),
                           kg::raw<std::int64_t>(labels), kg::raw<T>(grad_input));
        });
  };
}

const bench::Registrar registrar([] {
  for (const kg::Shape& shape : shapes) {
    const std::int64_t label_bytes = 8 * shape[0];
    const std::string name = bench::shape_suffix(shape);
    // Of the log-probabilities one per row has to be read.
    bench::add("nll_loss_forward" + name, {.bytes = bench::float_bytes(shape[0]) + label_bytes},
               [shape] { return forward(shape); });
    bench::add("nll_loss_backward" + name, {.bytes = bench::float_bytes(kg::numel(shape)) + label_bytes},
               [shape] { return backward(shape); });
  }
});

}  // namespace
