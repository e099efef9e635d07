#include "kernelgrad/training/sgd.h"

#include <fmt/format.h>

#include "kernelgrad/autograd.h"
#include "training/cuda/kernels.h"

namespace kg::training {

namespace {

void require_not_negative(double value, const char* name) {
  if (!(value >= 0)) throw Error(fmt::format("Sgd: {} is {}, expected 0 or more", name, value));
}

}  // namespace

Sgd::Sgd(std::vector<Tensor> parameters, const SgdOptions& options) : options_(options) {
  require_not_negative(options.learning_rate, "learning_rate");
  require_not_negative(options.momentum, "momentum");
  require_not_negative(options.dampening, "dampening");
  require_not_negative(options.weight_decay, "weight_decay");
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0))
    throw Error("Sgd: nesterov needs momentum and no dampening");
  for (Tensor& parameter : parameters) {
    slots_.push_back({.parameter = std::move(parameter), .velocity = {}, .started = {}});
    if (slots_.back().parameter.device().is_cuda()) prepare_on_cuda(slots_.back());
  }
}

void Sgd::zero_grad() {
  for (Slot& slot : slots_) slot.parameter.set_grad({});
}

void Sgd::set_learning_rate(double learning_rate) {
  require_not_negative(learning_rate, "learning_rate");
  options_.learning_rate = learning_rate;
  if (rates_on_cuda_.defined()) rates_on_cuda_.copy_from(rates());
}

void Sgd::set_momentum(double momentum) {
  if (!(momentum > 0) || options_.momentum == 0)
    throw Error(fmt::format("Sgd: momentum is set from {} to {}, expected positive numbers",
                            options_.momentum, momentum));
  options_.momentum = momentum;
  if (rates_on_cuda_.defined()) rates_on_cuda_.copy_from(rates());
}

Tensor Sgd::velocity(std::size_t parameter) const {
  const Slot& slot = slots_.at(parameter);
  // The blocks of a step on CUDA mark what they have begun, each for itself and all in the first step.
  if (slot.started.defined() && slot.started.numel() > 0 && slot.started.to_vector<std::uint8_t>()[0] == 0)
    return {};
  return slot.velocity;
}

void Sgd::set_velocity(std::size_t parameter, const Tensor& velocity) {
  Slot& slot = slots_.at(parameter);
  if (options_.momentum == 0) throw Error("Sgd: a velocity is given, expected none without momentum");
  if (velocity.shape() != slot.parameter.shape() || velocity.dtype() != slot.parameter.dtype())
    throw Error(fmt::format("Sgd: the velocity of parameter {} is {} {}, expected {} {}", parameter,
                            name_of(velocity.dtype()), to_string(velocity.shape()),
                            name_of(slot.parameter.dtype()), to_string(slot.parameter.shape())));
  if (!slot.parameter.device().is_cuda()) {
    slot.velocity = velocity.to(slot.parameter.device()).clone();
    return;
  }
  prepare_on_cuda(slot);
  slot.velocity.copy_from(velocity);
  const std::vector<std::uint8_t> all(static_cast<std::size_t>(slot.started.numel()), 1);
  slot.started.copy_from(Tensor::from(all, slot.started.shape()));
}

Tensor Sgd::rates() const {
  return Tensor::from(std::vector{options_.learning_rate, options_.momentum}, {2});
}

void Sgd::step() {
  bool any_on_cuda = false;
  for (Slot& slot : slots_) {
    const Tensor &parameter = slot.parameter, &velocity = slot.velocity;
    if (!parameter.grad().defined()) continue;
    if (velocity.defined() &&
        (velocity.device() != parameter.device() || velocity.dtype() != parameter.dtype()))
      throw Error("Sgd: a parameter has been moved to another device or dtype, away from its velocity");
    if (parameter.device().is_cuda())
      any_on_cuda = true;
    else if (parameter.dtype() == DType::float64)
      step_on_cpu<double>(slot);
    else
      step_on_cpu<float>(slot);
  }
  if (!any_on_cuda) return;
  step_on_cuda<float>();
  step_on_cuda<double>();
}

template <class T>
void Sgd::step_on_cpu(Slot& slot) const {
  const T rate = static_cast<T>(options_.learning_rate), momentum = static_cast<T>(options_.momentum);
  const T kept = static_cast<T>(1 - options_.dampening), decay = static_cast<T>(options_.weight_decay);
  Tensor& parameter = slot.parameter;
  const Tensor gradient = parameter.grad();
  const T* g = gradient.data<T>();
  T* w = parameter.data<T>();
  const bool first = !slot.velocity.defined();
  if (first && momentum != 0) slot.velocity = Tensor::empty(parameter.shape(), {.dtype = parameter.dtype()});
  T* v = momentum != 0 ? slot.velocity.data<T>() : nullptr;
  parameter.bump_version();
  if (v) slot.velocity.bump_version();
  for (std::int64_t i = 0; i < parameter.numel(); ++i) {
    const T slope = g[i] + decay * w[i];
    if (v) v[i] = first ? slope : momentum * v[i] + kept * slope;
    w[i] -= rate * (!v ? slope : options_.nesterov ? slope + momentum * v[i] : v[i]);
  }
}

void Sgd::prepare_on_cuda(Slot& slot) {
  const Tensor& parameter = slot.parameter;
  const auto options = [](DType dtype) { return TensorOptions{.dtype = dtype, .device = Device::cuda()}; };
  if (!rates_on_cuda_.defined()) rates_on_cuda_ = rates().to(Device::cuda());
  if (options_.momentum == 0 || slot.velocity.defined()) return;
  const std::int64_t blocks = cuda::sgd_blocks(parameter.numel(), size_of(parameter.dtype()));
  slot.velocity = Tensor::empty(parameter.shape(), options(parameter.dtype()));
  slot.started = Tensor::zeros({blocks}, options(DType::uint8));
}

template <class T>
void Sgd::step_on_cuda() {
  std::vector<cuda::SgdParameter<T>> table;
  for (Slot& slot : slots_) {
    Tensor& parameter = slot.parameter;
    const Tensor gradient = parameter.grad();
    if (!gradient.defined() || !parameter.device().is_cuda() || parameter.dtype() != dtype_of<T>()) continue;
    prepare_on_cuda(slot);
    const bool keeps = slot.velocity.defined();
    parameter.bump_version();
    for (Tensor kept : {slot.velocity, slot.started})
      if (keeps) kept.bump_version();
    table.push_back({.count = parameter.numel(),
                     .parameter = parameter.device_data<T>(),
                     .gradient = gradient.device_data<T>(),
                     .velocity = keeps ? slot.velocity.device_data<T>() : nullptr,
                     .started = keeps ? slot.started.device_data<std::uint8_t>() : nullptr});
  }
  if (table.empty()) return;
  cuda::sgd_step<T>(
      table,
      {.dampening = options_.dampening, .weight_decay = options_.weight_decay, .nesterov = options_.nesterov},
      reinterpret_cast<const cuda::SgdRates*>(rates_on_cuda_.device_data<double>()), {});
}

}  // namespace kg::training
