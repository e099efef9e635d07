// SPDX-License-Identifier: MIT
#include "models/blocks.h"
#include "models/families.h"

/// Two systems of our own. docs/mnist-own-models.md says how they were chosen, and what else was tried.
namespace mnist {

namespace {

namespace nn = kg::nn;

struct Channels {
  int at_28, at_14, at_7;  ///< of the two convolutions of each size
};

/// Two convolutions of each size. Those of the first two sizes are padded; the last two take 7x7 to 3x3.
nn::Sequential two_of_each_size(const Channels& channels) {
  const auto [a, b, c] = channels;
  const Then then = {bn, relu};
  return {c3_padded(1, a, then),
          c3_padded(a, a, then),
          max_pool(),
          c3_padded(a, b, then),
          c3_padded(b, b, then),
          max_pool(),
          c3(b, c, then),
          c3(c, c, then),
          gap(3),
          c1(c, 10),
          log_probabilities()};
}

nn::Sequential kernelgrad_8k() { return two_of_each_size({.at_28 = 8, .at_14 = 12, .at_7 = 16}); }
nn::Sequential kernelgrad_small() { return two_of_each_size({.at_28 = 6, .at_14 = 10, .at_7 = 12}); }

Augmentation light_affine() {
  return Augmentation({RandomAffine{.degrees = 5,
                                    .translate = {0.05, 0.05},
                                    .scale = {0.95, 1.05},
                                    .interpolation = Interpolation::bilinear}});
}

constexpr SgdOptions sgd(double learning_rate) {
  return {.learning_rate = learning_rate, .momentum = 0.9, .weight_decay = 1e-4, .nesterov = true};
}
constexpr OneCycleLrOptions one_cycle = {.pct_start = 0.2, .div_factor = 10, .final_div_factor = 100};

constexpr Recipe systems[] = {
    {.id = "kernelgrad_8k",
     .description = "our own; two poolings, one-cycle, average of the weights",
     .network = kernelgrad_8k,
     .augmentation = light_affine,
     .sgd = sgd(0.1),
     .schedule = one_cycle,
     .weight_average = 0.995},
    {.id = "kernelgrad_small",
     .description = "our own; kernelgrad_8k with fewer channels",
     .network = kernelgrad_small,
     .augmentation = light_affine,
     .sgd = sgd(0.2),
     .schedule = one_cycle,
     .weight_average = 0.995},
};

}  // namespace

std::span<const Recipe> kernelgrad_recipes() { return systems; }

}  // namespace mnist
