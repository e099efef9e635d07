// SPDX-License-Identifier: MIT
#include "models/blocks.h"
#include "models/families.h"

/// A network with two poolings, and two steps of its development that are known from a description only.
namespace mnist {

namespace {

namespace nn = kg::nn;

nn::Sequential classic_12k() {
  const Then then = {functional_relu, bn, dropout(0.1)};
  return {c3_padded(1, 8, then),
          c3_padded(8, 8, then),
          max_pool(),
          c3_padded(8, 16, then),
          c3_padded(16, 16, then),
          max_pool(),
          c3(16, 16, {functional_relu, bn}),
          c3(16, 32, {functional_relu}),
          c1(32, 10),
          c3(10, 10),
          log_probabilities()};
}

nn::Sequential classic_plain() {
  const Then then = {functional_relu};
  return {c3_padded(1, 8, then),
          c3_padded(8, 8, then),
          max_pool(),
          c3_padded(8, 16, then),
          c3_padded(16, 16, then),
          max_pool(),
          c3(16, 16, then),
          c3(16, 32, then),
          c1(32, 10),
          c3(10, 10),
          log_probabilities()};
}

Augmentation affine_and_jitter() {
  return Augmentation({RandomAffine{.degrees = 20, .translate = {0.1, 0.1}, .scale = {0.9, 1.1}},
                       ColorJitter{.brightness = 0.2, .contrast = 0.2}});
}

constexpr Recipe systems[] = {
    {.id = "classic_12k",
     .description = "two poolings, batch norm, dropout; affine and jitter",
     .network = classic_12k,
     .augmentation = affine_and_jitter,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .epochs = 20,
     .published = {.claimed = 99.50, .best = 99.50, .last_five_mean = 99.450}},
    {.id = "classic_step2",
     .description = "classic_12k without batch norm, dropout, augmentation",
     .network = classic_plain,
     .augmentation = no_augmentation,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .epochs = 20,
     .published = {.claimed = 98.60}},
    {.id = "classic_step3",
     .description = "classic_step2 with affine and jitter",
     .network = classic_plain,
     .augmentation = affine_and_jitter,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .epochs = 20,
     .published = {.claimed = 99.34}},
};

}  // namespace

std::span<const Recipe> classic_recipes() { return systems; }

}  // namespace mnist
