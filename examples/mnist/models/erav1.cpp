// SPDX-License-Identifier: MIT
#include "models/blocks.h"
#include "models/families.h"

/// Seven systems with batches of 64. The blocks of two convolutions are those of the source: `mnist rf`
/// groups its table by them.
namespace mnist {

namespace {

namespace nn = kg::nn;

nn::Sequential base(const Then& then) {
  return {nn::Sequential(c3(1, 4, then), c3(4, 10, then), c3(10, 16, then)),
          max_pool(),
          nn::Sequential(c1(16, 12, then), c1(12, 8, then)),
          nn::Sequential(c3(8, 12, then), c3(12, 16, then)),
          nn::Sequential(c3(16, 10, then), c3(10, 16, then)),
          gap(3),
          c1(16, 10),
          log_probabilities()};
}

/// `wide`: channels of the last 3x3 convolution but one.
nn::Sequential early_pooling(int wide, const Then& then) {
  return {nn::Sequential(c3(1, 4, then), c3(4, 10, then)),
          max_pool(),
          nn::Sequential(c1(10, 8, then), c1(8, 4, then)),
          nn::Sequential(c3(4, 10, then), c3(10, 16, then)),
          nn::Sequential(c3(16, wide, then), c3(wide, 16, then)),
          gap(4),
          c1(16, 10),
          log_probabilities()};
}

nn::Sequential erav1_base() { return base({relu, bn}); }
nn::Sequential erav1_dropout() { return base({relu, bn, dropout(0.025)}); }
nn::Sequential erav1_maxpool() { return early_pooling(18, {relu, bn, dropout(0.025)}); }
nn::Sequential erav1_no_dropout() { return early_pooling(18, {relu, bn, dropout(0)}); }
nn::Sequential erav1_final() { return early_pooling(12, {relu, bn, dropout(0)}); }

Augmentation crop_and_late_rotation() {
  return Augmentation({RandomApply{.p = 0.1, .transforms = {CenterCrop{.size = 24}}}, Resize{.size = 28}},
                      {.after_normalize = RandomRotation{.degrees = 5}});
}

constexpr Recipe systems[] = {
    {.id = "erav1_base",
     .description = "batch norm, average pooling",
     .network = erav1_base,
     .augmentation = no_augmentation,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .batch_size = 64,
     .published = {.claimed = 99.25, .best = 99.25, .last_five_mean = 99.122}},
    {.id = "erav1_dropout",
     .description = "erav1_base with dropout after every convolution",
     .network = erav1_dropout,
     .augmentation = no_augmentation,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .batch_size = 64,
     .published = {.claimed = 99.29, .best = 99.29, .last_five_mean = 99.242}},
    {.id = "erav1_maxpool",
     .description = "pooling after two convolutions instead of three",
     .network = erav1_maxpool,
     .augmentation = no_augmentation,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .batch_size = 64,
     .published = {.claimed = 99.35, .best = 99.35, .last_five_mean = 99.284}},
    {.id = "erav1_steplr",
     .description = "erav1_maxpool without dropout; StepLR",
     .network = erav1_no_dropout,
     .augmentation = no_augmentation,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .schedule = StepLrOptions{.step_size = 6, .gamma = 0.3},
     .batch_size = 64,
     .published = {.claimed = 99.43, .best = 99.43, .last_five_mean = 99.380}},
    {.id = "erav1_onecycle",
     .description = "erav1_maxpool without dropout; OneCycleLR once an epoch",
     .network = erav1_no_dropout,
     .augmentation = no_augmentation,
     .sgd = {.learning_rate = 0.017, .momentum = 0.9},
     .schedule = OneCycleLrOptions{.step = StepEvery::epoch},
     .batch_size = 64,
     .published = {.claimed = 99.16, .best = 99.16, .last_five_mean = 99.072}},
    {.id = "erav1_aug",
     .description = "erav1_steplr with crops, and rotation after normalising",
     .network = erav1_no_dropout,
     .augmentation = crop_and_late_rotation,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .schedule = StepLrOptions{.step_size = 6, .gamma = 0.3},
     .batch_size = 64,
     .published = {.claimed = 99.50, .best = 99.50, .last_five_mean = 99.440}},
    {.id = "erav1_final",
     .description = "erav1_aug with fewer channels",
     .network = erav1_final,
     .augmentation = crop_and_late_rotation,
     .sgd = {.learning_rate = 0.01, .momentum = 0.9},
     .schedule = StepLrOptions{.step_size = 6, .gamma = 0.3},
     .batch_size = 64,
     .published = {.claimed = 99.45, .best = 99.45, .last_five_mean = 99.416}},
};

}  // namespace

std::span<const Recipe> erav1_recipes() { return systems; }

}  // namespace mnist
