// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <span>
#include <vector>

#include "training/cuda/kernels.h"

/// The same loops for the rules of all optimizers.
namespace kg::training {

template <class Rule, class Slot>
void step_as(Slot& slot, const typename Rule::Constants& constants, const Rates& rates) {
  using T = typename Rule::Value;
  const Rule rule(constants, rates, slot.steps);
  const Tensor gradient = slot.parameter.grad();
  const T* g = gradient.template data<T>();
  T* w = slot.parameter.template data<T>();
  const std::size_t count = slot.kept.size();
  std::array<T*, Rule::kept_values> kept{};
  for (std::size_t k = 0; k < count; ++k) kept[k] = slot.kept[k].template data<T>();
  const std::int64_t elements = slot.parameter.numel();
  const bool first = slot.steps == 1;
  for (std::int64_t i = 0; i < elements; ++i) {
    std::array<T, Rule::kept_values> values{};
    if (!first)
      for (std::size_t k = 0; k < count; ++k) values[k] = kept[k][i];
    rule(w[i], g[i], count > 0 ? values.data() : nullptr);
    for (std::size_t k = 0; k < count; ++k) kept[k][i] = values[k];
  }
}

/// Step number slot.steps of a parameter on the CPU.
template <template <class> class Rule, class Slot>
void step_on_cpu(Slot& slot, const typename Rule<float>::Constants& constants, const Rates& rates) {
  if (slot.parameter.dtype() == DType::float64)
    step_as<Rule<double>>(slot, constants, rates);
  else
    step_as<Rule<float>>(slot, constants, rates);
}

template <class Rule, class Slot>
void queue_steps(std::span<Slot* const> slots, const typename Rule::Constants& constants,
                 const double* rates) {
  using T = typename Rule::Value;
  std::vector<cuda::ParameterStep<T, Rule::kept_values>> table;
  for (Slot* slot : slots) {
    if (slot->parameter.dtype() != dtype_of<T>()) continue;
    auto& entry = table.emplace_back();
    entry.count = slot->parameter.numel();
    entry.parameter = slot->parameter.template device_data<T>();
    entry.gradient = slot->parameter.grad().template device_data<T>();
    if (slot->kept.empty()) continue;
    for (std::size_t k = 0; k < slot->kept.size(); ++k)
      entry.kept[k] = slot->kept[k].template device_data<T>();
    entry.steps = slot->block_steps.template device_data<std::int32_t>();
  }
  if (!table.empty()) cuda::optimizer_step<Rule>(table, constants, rates);
}

/// A step of these on CUDA: one launch for all parameters of a dtype.
template <template <class> class Rule, class Slot>
void step_on_cuda(std::span<Slot* const> slots, const typename Rule<float>::Constants& constants,
                  const double* rates) {
  queue_steps<Rule<float>>(slots, constants, rates);
  queue_steps<Rule<double>>(slots, constants, rates);
}

}  // namespace kg::training
