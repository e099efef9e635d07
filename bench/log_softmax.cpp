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
    KG_CHOSEN_KERNELS(log_softmax, float, bench::device())
        .backward(shape[0], shape[1], kg::raw<float>(output), kg::raw<float>(grad_output),
                  kg::raw<float>(grad_input), {});
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
