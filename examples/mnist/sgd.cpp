#include "sgd.h"

#include "kernelgrad/autograd.h"

namespace mnist {

Sgd::Sgd(std::vector<kg::Tensor> parameters, const SgdOptions& options)
    : parameters_(std::move(parameters)), velocities_(parameters_.size()), options_(options) {
  if (!(options.learning_rate >= 0) || !(options.momentum >= 0) || !(options.weight_decay >= 0))
    throw kg::Error("Sgd: learning_rate, momentum and weight_decay must not be negative");
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0))
    throw kg::Error("Sgd: nesterov needs momentum and no dampening");
}

void Sgd::zero_grad() {
  for (kg::Tensor& parameter : parameters_) parameter.set_grad({});
}

void Sgd::step() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].grad().defined()) continue;
    if (parameters_[i].dtype() == kg::DType::float64)
      step<double>(parameters_[i], velocities_[i]);
    else
      step<float>(parameters_[i], velocities_[i]);
  }
}

template <class T>
void Sgd::step(kg::Tensor& parameter, kg::Tensor& velocity) const {
  const T rate = static_cast<T>(options_.learning_rate), momentum = static_cast<T>(options_.momentum);
  const T kept = static_cast<T>(1 - options_.dampening), decay = static_cast<T>(options_.weight_decay);
  const kg::Tensor gradient = parameter.grad();
  const T* g = gradient.data<T>();
  T* w = parameter.data<T>();
  const bool first = !velocity.defined();
  if (first && momentum != 0) velocity = kg::Tensor::empty(parameter.shape(), {.dtype = parameter.dtype()});
  T* v = momentum != 0 ? velocity.data<T>() : nullptr;
  for (std::int64_t i = 0; i < parameter.numel(); ++i) {
    const T slope = g[i] + decay * w[i];
    if (v) v[i] = first ? slope : momentum * v[i] + kept * slope;
    w[i] -= rate * (!v ? slope : options_.nesterov ? slope + momentum * v[i] : v[i]);
  }
}

}  // namespace mnist
