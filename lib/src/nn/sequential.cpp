// SPDX-License-Identifier: MIT
#include <span>
#include <typeinfo>

#include "kernelgrad/nn.h"

namespace kg::nn {

namespace {

using Child = std::pair<std::string, std::shared_ptr<Module>>;

/// A run of [ReLU] BatchNorm2d [ReLU] [Dropout], where Functional(relu) is a ReLU, at the start of a row of
/// modules.
struct FusedRun {
  BatchNorm2d* batch_norm = nullptr;
  BatchNormOptions neighbours = {};
  std::size_t length = 0;
};

bool is_relu(const Module& module) {
  return typeid(module) == typeid(ReLU) ||
         (typeid(module) == typeid(Functional) && static_cast<const Functional&>(module).calls(relu));
}

FusedRun match(std::span<const Child> modules) {
  FusedRun run;
  // Exactly that type: a class derived from it may compute something else.
  const auto next = [&]<class Type>(Type*) -> Type* {
    if (run.length == modules.size()) return nullptr;
    Module& module = *modules[run.length].second;
    if (typeid(module) != typeid(Type)) return nullptr;
    ++run.length;
    return static_cast<Type*>(&module);
  };
  const auto next_is_relu = [&] {
    const bool found = run.length < modules.size() && is_relu(*modules[run.length].second);
    run.length += found;
    return found;
  };
  run.neighbours.relu_before = next_is_relu();
  run.batch_norm = next(static_cast<BatchNorm2d*>(nullptr));
  if (!run.batch_norm) return {};
  run.neighbours.relu_after = next_is_relu();
  if (const Dropout* dropout = next(static_cast<Dropout*>(nullptr)); dropout && dropout->is_training())
    run.neighbours.dropout = dropout->p();
  return run;
}

}  // namespace

void Sequential::append(std::shared_ptr<Module> module) try {
  register_child(std::to_string(children().size()), std::move(module));
} catch (const std::bad_alloc&) {
  no_memory("Sequential::append");
}

Tensor Sequential::forward(const Tensor& input) {
  Tensor value = input;
  const std::span<const Child> modules = children();
  for (std::size_t i = 0; i < modules.size();) {
    // What no module takes is left to the first to refuse, so that the error names that one.
    const bool fusible = !ForwardHook::active() && value.defined() && is_floating_point(value.dtype());
    const FusedRun run = fusible ? match(modules.subspan(i)) : FusedRun();
    value =
        run.batch_norm ? run.batch_norm->forward_fused(value, run.neighbours) : (*modules[i].second)(value);
    i += std::max<std::size_t>(run.length, 1);
  }
  return value;
}

}  // namespace kg::nn
