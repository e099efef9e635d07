// SPDX-License-Identifier: MIT
#include "kernelgrad/training/sgd.h"

#include <fmt/format.h>

#include <utility>

#include "kernelgrad/error.h"
#include "training/step.h"

namespace kg::training {

namespace {

SgdConstants constants_of(const SgdOptions& options) {
  return {.dampening = options.dampening, .weight_decay = options.weight_decay, .nesterov = options.nesterov};
}

}  // namespace

Sgd::Sgd(std::vector<Tensor> parameters, const SgdOptions& options)
    : Optimizer(
          {.name = "Sgd",
           .kept = options.momentum != 0 ? std::vector<std::string>{"velocity"} : std::vector<std::string>()},
          std::move(parameters), options.learning_rate, options.momentum),
      options_(options) {
  require_not_negative(options.momentum, "momentum");
  require_not_negative(options.dampening, "dampening");
  require_not_negative(options.weight_decay, "weight_decay");
  if (options.nesterov && (options.momentum == 0 || options.dampening != 0))
    throw Error("Sgd: nesterov needs momentum and no dampening");
}

void Sgd::check_momentum(double given) const {
  if (!(given > 0) || momentum() == 0)
    throw Error(
        fmt::format("Sgd: momentum is set from {} to {}, expected positive numbers", momentum(), given));
}

Tensor Sgd::velocity(std::size_t parameter) const {
  const std::vector<Tensor> kept = this->kept(parameter);
  return kept.empty() ? Tensor() : kept[0];
}

void Sgd::set_velocity(std::size_t parameter, const Tensor& velocity) {
  if (momentum() == 0) throw Error("Sgd: a velocity is given, expected none without momentum");
  set_kept(parameter, {velocity}, 1);
}

void Sgd::step_on_cpu(Slot& slot) const {
  training::step_on_cpu<SgdRule>(slot, constants_of(options_), {learning_rate(), momentum()});
}

void Sgd::step_on_cuda(std::span<Slot* const> slots, const double* rates) const {
  training::step_on_cuda<SgdRule>(slots, constants_of(options_), rates);
}

}  // namespace kg::training
