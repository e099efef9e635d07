// SPDX-License-Identifier: MIT
#include "models/blocks.h"
#include "models/families.h"

/// Three systems: bare, with batch norm and dropout, and with augmentation.
namespace mnist {

namespace {

namespace nn = kg::nn;

nn::Sequential s6_model2() {
  const Then then = {bn, relu, dropout(0.05)};
  return {c3(1, 8, then),  c3(8, 16, then),    max_pool(),       c1(16, 8, {bn, relu}),
          c3(8, 10, then), c3(10, 16, then),   c3(16, 16, then), c1(16, 10),
          gap(6),          log_probabilities()};
}

nn::Sequential s6_model3() {
  const Then then = {bn, relu, dropout(0.05)};
  return {c3(1, 8, then), c3(8, 16, then), max_pool(),         c1(16, 8, {bn, relu}),
          c3(8, 8, then), c3(8, 12, then), c3(12, 12, then),   c3(12, 16, then),
          gap(4),         c1(16, 10),      log_probabilities()};
}

Augmentation rotation_and_affine() {
  return Augmentation({RandomRotation{.degrees = 7, .fill = 1},
                       RandomAffine{.degrees = 7, .translate = {0.05, 0.01}, .scale = {0.93, 1.07}}});
}

constexpr Recipe systems[] = {
    {.id = "s6_model1",
     .description = "bare convolutions, 7x7 at the end",
     .network = bare_10k,
     .augmentation = no_augmentation,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 98.80, .best = 98.80, .last_five_mean = 98.674}},
    {.id = "s6_model2",
     .description = "batch norm, dropout, average pooling",
     .network = s6_model2,
     .augmentation = no_augmentation,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 99.32, .best = 99.32, .last_five_mean = 99.152}},
    {.id = "s6_model3",
     .description = "one convolution more; rotation and affine, StepLR",
     .network = s6_model3,
     .augmentation = rotation_and_affine,
     .sgd = {.learning_rate = 0.02, .momentum = 0.9},
     .schedule = StepLrOptions{.step_size = 6, .gamma = 0.1},
     .published = {.claimed = 99.43, .best = 99.43, .last_five_mean = 99.408}},
};

}  // namespace

std::span<const Recipe> s6_recipes() { return systems; }

}  // namespace mnist
