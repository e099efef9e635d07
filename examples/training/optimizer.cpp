// SPDX-License-Identifier: MIT
#include "kernelgrad/training/optimizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "kernelgrad/autograd.h"
#include "kernelgrad/error.h"
#include "training/cuda/kernels.h"

namespace kg::training {

Optimizer::Optimizer(Kind kind, std::vector<Tensor> parameters, double learning_rate, double momentum)
    : kind_(std::move(kind)), learning_rate_(learning_rate), momentum_(momentum) {
  require_not_negative(learning_rate, "learning_rate");
  for (Tensor& parameter : parameters) {
    slots_.push_back({.parameter = std::move(parameter)});
    if (slots_.back().parameter.device().is_cuda()) prepare(slots_.back());
  }
}

void Optimizer::require_not_negative(double value, const char* what) const {
  if (!(value >= 0)) throw Error(fmt::format("{}: {} is {}, expected 0 or more", kind_.name, what, value));
}

void Optimizer::zero_grad() {
  for (Slot& slot : slots_) slot.parameter.set_grad({});
}

void Optimizer::set_learning_rate(double learning_rate) {
  require_not_negative(learning_rate, "learning_rate");
  learning_rate_ = learning_rate;
  if (rates_on_cuda_.defined()) rates_on_cuda_.copy_from(rates());
}

void Optimizer::set_momentum(double momentum) {
  check_momentum(momentum);
  momentum_ = momentum;
  if (rates_on_cuda_.defined()) rates_on_cuda_.copy_from(rates());
}

Tensor Optimizer::rates() const { return Tensor::from(std::vector{learning_rate_, momentum_}, {2}); }

void Optimizer::step() {
  std::vector<Slot*> on_cuda;
  for (Slot& slot : slots_) {
    const Tensor& parameter = slot.parameter;
    if (!parameter.grad().defined()) continue;
    if (!slot.kept.empty() &&
        (slot.kept.front().device() != parameter.device() || slot.kept.front().dtype() != parameter.dtype()))
      throw Error(fmt::format("{}: a parameter has been moved to another device or dtype, away from its {}",
                              kind_.name, kind_.kept.front()));
    prepare(slot);
    slot.parameter.bump_version();
    for (Tensor& kept : slot.kept) kept.bump_version();
    if (slot.block_steps.defined()) slot.block_steps.bump_version();
    if (parameter.device().is_cuda()) {
      on_cuda.push_back(&slot);
    } else {
      ++slot.steps;
      step_on_cpu(slot);
    }
  }
  if (!on_cuda.empty()) step_on_cuda(on_cuda, rates_on_cuda_.device_data<double>());
}

void Optimizer::prepare(Slot& slot) {
  const Tensor& parameter = slot.parameter;
  const Device device = parameter.device();
  if (device.is_cuda() && !rates_on_cuda_.defined()) rates_on_cuda_ = rates().to(device);
  if (slot.kept.size() == kind_.kept.size()) return;
  for (std::size_t k = 0; k < kind_.kept.size(); ++k)
    slot.kept.push_back(Tensor::empty(parameter.shape(), {.dtype = parameter.dtype(), .device = device}));
  const std::int64_t blocks = cuda::step_blocks(parameter.numel(), size_of(parameter.dtype()));
  if (device.is_cuda()) slot.block_steps = Tensor::zeros({blocks}, {.dtype = DType::int32, .device = device});
}

std::int64_t Optimizer::steps_of(const Slot& slot) const {
  if (!slot.block_steps.defined()) return slot.steps;
  // The blocks count each for itself, and all alike. Where there is none there is nothing to count.
  return slot.block_steps.numel() > 0 ? slot.block_steps.to_vector<std::int32_t>()[0] : 1;
}

std::vector<Tensor> Optimizer::kept(std::size_t parameter) const {
  const Slot& slot = slots_.at(parameter);
  return steps_of(slot) > 0 ? slot.kept : std::vector<Tensor>();
}

void Optimizer::set_kept(std::size_t parameter, const std::vector<Tensor>& values, std::int64_t steps) {
  Slot& slot = slots_.at(parameter);
  for (std::size_t k = 0; k < values.size(); ++k)
    if (values[k].shape() != slot.parameter.shape() || values[k].dtype() != slot.parameter.dtype())
      throw Error(fmt::format("{}: the {} of parameter {} is {} {}, expected {} {}", kind_.name,
                              kind_.kept[k], parameter, name_of(values[k].dtype()),
                              to_string(values[k].shape()), name_of(slot.parameter.dtype()),
                              to_string(slot.parameter.shape())));
  prepare(slot);
  for (std::size_t k = 0; k < values.size(); ++k) slot.kept[k].copy_from(values[k]);
  slot.steps = steps;
  if (!slot.block_steps.defined()) return;
  const std::vector<std::int32_t> all(static_cast<std::size_t>(slot.block_steps.numel()),
                                      static_cast<std::int32_t>(steps));
  slot.block_steps.copy_from(Tensor::from(all, slot.block_steps.shape()));
}

nn::StateDict Optimizer::state() const {
  nn::StateDict state;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    const std::vector<Tensor> kept = this->kept(i);
    for (std::size_t k = 0; k < kept.size(); ++k)
      state.push_back({fmt::format("{}.{}", kind_.kept[k], i), kept[k]});
    if (kind_.counts_steps && !kept.empty())
      state.push_back({fmt::format("steps.{}", i), Tensor::from(std::vector{steps_of(slots_[i])}, {})});
  }
  return state;
}

void Optimizer::restore(const nn::StateDict& state) {
  std::set<std::string> unused;
  for (const nn::NamedTensor& entry : state) unused.insert(entry.name);
  const auto find = [&](const std::string& name) {
    unused.erase(name);
    return nn::find_tensor(state, name);
  };
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    std::vector<Tensor> values;
    for (const std::string& name : kind_.kept)
      if (const Tensor value = find(fmt::format("{}.{}", name, i)); value.defined()) values.push_back(value);
    const Tensor steps = kind_.counts_steps ? find(fmt::format("steps.{}", i)) : Tensor();
    if (values.empty() && !steps.defined()) continue;
    if (values.size() != kind_.kept.size() || steps.defined() != kind_.counts_steps)
      throw Error(fmt::format("{}: a part of the state of parameter {} is missing, expected {}{}", kind_.name,
                              i, fmt::join(kind_.kept, ", "), kind_.counts_steps ? " and steps" : ""));
    set_kept(i, values, steps.defined() ? steps.to(DType::int64).to_vector<std::int64_t>().at(0) : 1);
  }
  if (!unused.empty())
    throw Error(fmt::format("{}: {} is no part of its state, of {} parameters", kind_.name,
                            in_quotes(*unused.begin()), slots_.size()));
}

}  // namespace kg::training
