#include "kernels/relu.h"

#include "bench.h"

namespace {

std::function<void()> forward(const kg::Shape& shape) {
  return [input = bench::random_tensor(shape)] { kg::relu(input); };
}

std::function<void()> backward(const kg::Shape& shape) {
  return [output = kg::relu(bench::random_tensor(shape)), grad_output = bench::random_tensor(shape)] {
    kg::Tensor grad_input = bench::empty(output.shape());
    KG_KERNELS(relu, float, bench::device())
        .backward(output.numel(), kg::raw<float>(output), kg::raw<float>(grad_output),
                  kg::raw<float>(grad_input), {});
  };
}

const bench::Registrar registrar([] {
  for (const kg::Shape& shape : bench::activation_shapes) {
    const std::int64_t count = kg::numel(shape);
    const std::string name = bench::shape_suffix(shape);
    bench::add("relu_forward" + name, {.bytes = bench::float_bytes(2 * count)},
               [shape] { return forward(shape); });
    bench::add("relu_backward" + name, {.bytes = bench::float_bytes(3 * count)},
               [shape] { return backward(shape); });
  }
});

}  // namespace
