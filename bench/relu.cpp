#include "kernels/relu.h"

#include "bench.h"

namespace {

std::function<void()> forward(const kg::Shape& shape) {
  return [input = bench::random_tensor(shape)] { kg::relu(input); };
}

std::function<void()> backward(const kg::Shape& shape) {
  return [output = kg::relu(bench::random_tensor(shape)), grad_output = bench::random_tensor(shape)] {
    kg::Tensor grad_input = bench::empty(output.shape());
    bench::run<kg::kernels::ReluKernels>("backward", bench::count(output.numel()),
                                         [&]<class T>(const kg::kernels::ReluKernels<T>& kernels) {
                                           kernels.backward(output.numel(), kg::raw<T>(output),
                                                            kg::raw<T>(grad_output), kg::raw<T>(grad_input));
                                         });
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
