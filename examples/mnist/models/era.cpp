// SPDX-License-Identifier: MIT
#include "models/blocks.h"
#include "models/families.h"

/// Ten systems: three sizes without batch norm, four with it, three with more augmentation. Padding, then
/// none: 28x28 stays 28x28 up to the pooling. The 1x1 convolutions that reduce channels have a ReLU and no
/// batch norm.
namespace mnist {

namespace {

namespace nn = kg::nn;

nn::Sequential era_model1() {
  return {c3_padded(1, 16, {relu}),
          c3_padded(16, 32, {relu}),
          max_pool(),
          c1(32, 16, {relu}),
          c3(16, 32, {relu}),
          c3(32, 64, {relu}),
          c1(64, 16, {relu}),
          c3(16, 32, {relu}),
          c3(32, 64, {relu}),
          c6(64, 10),
          log_probabilities()};
}

nn::Sequential era_model2() {
  return {c3_padded(1, 16, {relu}),
          c3_padded(16, 20, {relu}),
          max_pool(),
          c1(20, 10, {relu}),
          c3(10, 12, {relu}),
          c3(12, 16, {relu}),
          c1(16, 10, {relu}),
          c3(10, 12, {relu}),
          c3(12, 16, {relu}),
          c6(16, 10),
          log_probabilities()};
}

nn::Sequential era_model3() {
  return {c3_padded(1, 10, {relu}),
          c3_padded(10, 12, {relu}),
          max_pool(),
          c1(12, 10, {relu}),
          c3(10, 12, {relu}),
          c3(12, 16, {relu}),
          c1(16, 8, {relu}),
          c3(8, 10, {relu}),
          c3(10, 10, {relu}),
          c6(10, 10),
          log_probabilities()};
}

nn::Sequential era_model4() {
  return {c3_padded(1, 10, {bn, relu}),
          c3_padded(10, 12, {bn, relu}),
          max_pool(),
          c1(12, 10, {relu}),
          c3(10, 10, {bn, relu}),
          c3(10, 12, {bn, relu}),
          c1(12, 8, {relu}),
          c3(8, 10, {bn, relu}),
          c3(10, 10, {bn}),
          c6(10, 10),
          log_probabilities()};
}

/// What follows a 3x3 convolution in models 5 to 10.
const Then then = {bn, relu, dropout(0.01)};

nn::Sequential era_model5() {
  return {c3_padded(1, 10, then),
          c3_padded(10, 12, then),
          max_pool(),
          c1(12, 10, {relu}),
          c3(10, 10, then),
          c3(10, 12, then),
          c1(12, 8, {relu}),
          c3(8, 10, {relu, dropout(0.01)}),
          c3(10, 10, {bn, dropout(0.01)}),
          c6(10, 10),
          log_probabilities()};
}

nn::Sequential era_model6() {
  return {c3_padded(1, 10, then),
          c3_padded(10, 12, then),
          max_pool(),
          c1(12, 10, {relu}),
          c3(10, 10, then),
          c3(10, 12, then),
          c1(12, 8, {relu}),
          c3(8, 10, {relu, dropout(0.01)}),
          c3(10, 10, {bn, dropout(0.01)}),
          gap(6),
          c1(10, 10),
          log_probabilities()};
}

nn::Sequential era_model7() {
  return {c3_padded(1, 10, then),
          c3_padded(10, 12, then),
          max_pool(),
          c1(12, 10, {relu}),
          c3(10, 16, then),
          c3(16, 16, then),
          c1(16, 8, {relu}),
          c3(8, 12, then),
          c3(12, 12, {bn, relu}),
          gap(6),
          c1(12, 10),
          log_probabilities()};
}

nn::Sequential era_model10() {
  return {c3_padded(1, 10, then),
          c3_padded(10, 12, then),
          max_pool(),
          c1(12, 10, {relu}),
          c3(10, 12, then),
          c3(12, 12, then),
          c1(12, 10, {relu}),
          c3(10, 10, then),
          c3(10, 12, {bn, relu}),
          gap(6),
          c1(12, 10),
          log_probabilities()};
}

Augmentation rotation_of_7() { return Augmentation({RandomRotation{.degrees = 7}}); }

Augmentation rotation_of_6_9() { return Augmentation({RandomRotation{.degrees = 6.9, .fill = 1}}); }

Augmentation rotation_and_affine() {
  return Augmentation({RandomRotation{.degrees = 6.9, .fill = 1}, RandomAffine{.degrees = 15}});
}

constexpr Recipe systems[] = {
    {.id = "era_model1",
     .description = "bare convolutions, up to 64 channels, 6x6 at the end",
     .network = era_model1,
     .augmentation = rotation_of_7,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 99.01, .best = 99.01, .last_five_mean = 98.938}},
    {.id = "era_model2",
     .description = "fewer channels",
     .network = era_model2,
     .augmentation = rotation_of_7,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 98.55, .best = 98.55, .last_five_mean = 98.420}},
    {.id = "era_model3",
     .description = "fewer still",
     .network = era_model3,
     .augmentation = rotation_of_7,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 98.82, .best = 98.86, .last_five_mean = 98.782}},
    {.id = "era_model4",
     .description = "batch norm on the 3x3 convolutions",
     .network = era_model4,
     .augmentation = rotation_of_7,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 99.29, .best = 99.29, .last_five_mean = 99.184}},
    {.id = "era_model5",
     .description = "dropout; one batch norm less",
     .network = era_model5,
     .augmentation = rotation_of_7,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 99.22, .best = 99.22, .last_five_mean = 99.156}},
    {.id = "era_model6",
     .description = "average pooling and a 1x1 instead of the 6x6",
     .network = era_model6,
     .augmentation = rotation_of_7,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 99.35, .best = 99.35, .last_five_mean = 99.182}},
    {.id = "era_model7",
     .description = "more channels, batch norm on every 3x3 again",
     .network = era_model7,
     .augmentation = rotation_of_7,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 99.20, .best = 99.20, .last_five_mean = 99.086}},
    {.id = "era_model8",
     .description = "era_model7 with fill 1 in the rotation",
     .network = era_model7,
     .augmentation = rotation_of_6_9,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .published = {.claimed = 99.26, .best = 99.26, .last_five_mean = 99.214}},
    {.id = "era_model9",
     .description = "era_model8 with affine; plateau",
     .network = era_model7,
     .augmentation = rotation_and_affine,
     .sgd = {.learning_rate = 0.075, .momentum = 0.9},
     .schedule = ReduceLrOnPlateauOptions{.factor = 0.1, .patience = 1},
     .published = {.claimed = 99.42, .best = 99.45, .last_five_mean = 99.358}},
    {.id = "era_model10",
     .description = "era_model9 with fewer channels",
     .network = era_model10,
     .augmentation = rotation_and_affine,
     .sgd = {.learning_rate = 0.075, .momentum = 0.9},
     .schedule = ReduceLrOnPlateauOptions{.factor = 0.1, .patience = 1},
     .published = {.claimed = 99.41, .best = 99.43, .last_five_mean = 99.390}},
};

}  // namespace

std::span<const Recipe> era_recipes() { return systems; }

}  // namespace mnist
