// SPDX-License-Identifier: MIT
#include "kernelgrad/training/adam.h"

#include <fmt/format.h>

#include <utility>

#include "kernelgrad/error.h"
#include "training/step.h"

namespace kg::training {

namespace {

AdamConstants constants_of(const AdamOptions& options, bool decoupled) {
  return {.beta2 = options.beta2,
          .epsilon = options.epsilon,
          .weight_decay = options.weight_decay,
          .decoupled = decoupled};
}

}  // namespace

Adam::Adam(std::vector<Tensor> parameters, const AdamOptions& options)
    : Adam("Adam", std::move(parameters), options, false) {}

Adam::Adam(const char* name, std::vector<Tensor> parameters, const AdamOptions& options, bool decoupled)
    : Optimizer({.name = name, .kept = {"mean", "square"}, .counts_steps = true}, std::move(parameters),
                options.learning_rate, options.beta1),
      options_(options),
      decoupled_(decoupled) {
  for (const auto& [what, beta] : {std::pair("beta1", options.beta1), std::pair("beta2", options.beta2)})
    if (!(beta >= 0 && beta < 1))
      throw Error(fmt::format("{}: {} is {}, expected 0 <= {} < 1", name, what, beta, what));
  require_not_negative(options.epsilon, "epsilon");
  require_not_negative(options.weight_decay, "weight_decay");
}

void Adam::check_momentum(double given) const {
  if (!(given >= 0 && given < 1))
    throw Error(fmt::format("Adam: momentum is set to {}, expected 0 <= momentum < 1: it is beta1", given));
}

void Adam::step_on_cpu(Slot& slot) const {
  training::step_on_cpu<AdamRule>(slot, constants_of(options_, decoupled_), {learning_rate(), momentum()});
}

void Adam::step_on_cuda(std::span<Slot* const> slots, const double* rates) const {
  training::step_on_cuda<AdamRule>(slots, constants_of(options_, decoupled_), rates);
}

AdamW::AdamW(std::vector<Tensor> parameters, const AdamWOptions& options)
    : Adam("AdamW", std::move(parameters),
           {.learning_rate = options.learning_rate,
            .beta1 = options.beta1,
            .beta2 = options.beta2,
            .epsilon = options.epsilon,
            .weight_decay = options.weight_decay},
           true) {}

}  // namespace kg::training
