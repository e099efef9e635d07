// SPDX-License-Identifier: MIT
#include "kernels/elementwise.h"

#include "bench.h"
#include "ops/in_place.h"

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

/// Every function of one element, forward and backward.
template <class Function>
void add_unary(const Function& function) {
  using kg::kernels::ElementwiseKernels;
  for (const kg::Shape& shape : bench::activation_shapes) {
    const std::int64_t count = kg::numel(shape);
    const std::string name = Function::name;
    const auto forward = [=] {
      return [=, input = bench::random_tensor(shape), output = bench::empty(shape)] {
        bench::run<ElementwiseKernels>(
            Function::name, bench::count(count), [&]<class T>(const ElementwiseKernels<T>& kernels) {
              kernels.unary(function, count, kg::raw<T>(input), kg::raw<T>(output));
            });
      };
    };
    const auto backward = [=] {
      return [=, saved = bench::random_tensor(shape), grad_output = bench::random_tensor(shape)] {
        const kg::Tensor grad_input = bench::empty(shape);
        bench::run<ElementwiseKernels>(Function::name, bench::count(count).note(", backward"),
                                       [&]<class T>(const ElementwiseKernels<T>& kernels) {
                                         kernels.unary_backward(function, count, kg::raw<T>(saved),
                                                                kg::raw<T>(grad_output),
                                                                kg::raw<T>(grad_input));
                                       });
      };
    };
    bench::add(name + "_forward" + bench::shape_suffix(shape), {.bytes = bench::float_bytes(2 * count)},
               forward);
    bench::add(name + "_backward" + bench::shape_suffix(shape), {.bytes = bench::float_bytes(3 * count)},
               backward);
  }
}

template <class... Functions>
void add_every_unary(const std::variant<Functions...>*) {
  (add_unary(Functions()), ...);
}

std::function<void()> accumulate(const kg::Shape& shape) {
  return [input = bench::random_tensor(shape),
          accumulator = kg::Tensor::zeros(shape, bench::options())]() mutable {
    kg::accumulate(input, accumulator);
  };
}

const bench::Registrar registrar([] {
  add_every_unary(static_cast<const kg::kernels::UnaryFunction*>(nullptr));
  add_binary("add", static_cast<Binary>(kg::add));
  add_binary("mul", static_cast<Binary>(kg::mul));
  for (const kg::Shape& shape : shapes)
    bench::add("accumulate" + bench::shape_suffix(shape), {.bytes = bench::float_bytes(3 * kg::numel(shape))},
               [shape] { return accumulate(shape); });
});

}  // namespace
