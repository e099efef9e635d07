#include "kernels/elementwise.h"

#include "bench.h"

namespace {

const kg::Shape shapes[] = {{128, 16, 22, 22}, {32, 64, 56, 56}};

using Binary = kg::Tensor (*)(const kg::Tensor&, const kg::Tensor&);

void add_binary(const std::string& op, Binary function) {
  for (const kg::Shape& shape : shapes) {
    const kg::Shape per_channel = {1, shape[1], 1, 1};
    const std::string name = op + bench::shape_suffix(shape);
    const std::int64_t count = kg::numel(shape);
    const auto prepare = [=](const kg::Shape& other) -> std::function<void()> {
      return [function, a = bench::random_tensor(shape), b = bench::random_tensor(other)] { function(a, b); };
    };
    bench::add(name, {.bytes = bench::float_bytes(3 * count)}, [=] { return prepare(shape); });
    bench::add(name + "/per_channel:1", {.bytes = bench::float_bytes(2 * count + shape[1])},
               [=] { return prepare(per_channel); });
  }
}

std::function<void()> scale(const kg::Shape& shape) {
  return [input = bench::random_tensor(shape)] { kg::mul(input, 0.5); };
}

std::function<void()> accumulate(const kg::Shape& shape) {
  return [input = bench::random_tensor(shape),
          accumulator = kg::Tensor::zeros(shape, bench::options())]() mutable {
    bench::run<kg::kernels::ElementwiseKernels>(
        "accumulate", bench::count(input.numel()),
        [&]<class T>(const kg::kernels::ElementwiseKernels<T>& kernels) {
          kernels.accumulate(input.numel(), kg::raw<T>(input), kg::raw<T>(accumulator));
        });
  };
}

const bench::Registrar registrar([] {
  add_binary("add", kg::add);
  add_binary("mul", static_cast<Binary>(kg::mul));
  for (const kg::Shape& shape : shapes) {
    const std::int64_t count = kg::numel(shape);
    bench::add("scale" + bench::shape_suffix(shape), {.bytes = bench::float_bytes(2 * count)},
               [shape] { return scale(shape); });
    bench::add("accumulate" + bench::shape_suffix(shape), {.bytes = bench::float_bytes(3 * count)},
               [shape] { return accumulate(shape); });
  }
});

}  // namespace
