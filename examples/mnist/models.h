#pragma once

#include <span>
#include <string_view>

#include "augment.h"
#include "kernelgrad/nn.h"
#include "sgd.h"
#include "step_lr.h"

namespace mnist {

/// A network and how it is trained.
struct Recipe {
  std::string_view id;
  std::string_view description;
  kg::nn::Sequential (*network)();
  Augmentation (*augmentation)();
  SgdOptions sgd;
  StepLrOptions schedule;
  int batch_size = 128;
  int epochs = 15;
};

/// All recipes, in the order in which `mnist list` shows them.
std::span<const Recipe> recipes();

/// The recipe with that id. Throws kg::Error, naming those there are, if there is none.
const Recipe& find_recipe(std::string_view id);

/// Mean and standard deviation of MNIST's training pixels, scaled to [0, 1]: what every recipe normalises
/// with.
inline constexpr float pixel_mean = 0.1307f, pixel_std = 0.3081f;

}  // namespace mnist
