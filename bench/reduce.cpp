// SPDX-License-Identifier: MIT
#include "bench.h"

namespace {

const kg::Shape shapes[] = {{128, 16, 22, 22}, {32, 64, 56, 56}};

/// Which dimensions are summed: all, all but the channels (the gradient of a bias), or the last.
struct Kind {
  std::string name;
  std::vector<int> dims;
};

const bench::Registrar registrar([] {
  for (const auto& [name, dims] : {Kind{"all", {}}, Kind{"per_channel", {0, 2, 3}}, Kind{"last", {3}}})
    for (const kg::Shape& shape : shapes) {
      const std::int64_t outputs = name == "all"    ? 1
                                   : name == "last" ? kg::numel(shape) / shape[3]
                                                    : shape[1];
      bench::add("sum_" + name + bench::shape_suffix(shape),
                 {.bytes = bench::float_bytes(kg::numel(shape) + outputs)},
                 [shape, dims = dims]() -> std::function<void()> {
                   return [input = bench::random_tensor(shape), dims] { kg::sum(input, {.dims = dims}); };
                 });
    }
});

}  // namespace
