// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "augment/augment.h"
#include "kernelgrad/nn.h"
#include "kernelgrad/training/schedules.h"
#include "kernelgrad/training/sgd.h"

namespace mnist {

/// What the author of a system says that it reaches. Accuracies are of the test images, in percent.
struct Published {
  std::optional<double> claimed = {};  ///< the figure of the text, which is not always the log's best
  // From the log, where there is one:
  std::optional<double> best = {}, last_five_mean = {};
};

/// Of one image; of MNIST's by default.
struct ImageShape {
  int channels = 1, height = 28, width = 28;
  friend bool operator==(const ImageShape&, const ImageShape&) = default;
};

/// A network and how it is trained.
struct Recipe {
  std::string_view id;
  std::string_view description;
  kg::nn::Sequential (*network)();
  Augmentation (*augmentation)();
  kg::training::SgdOptions sgd;
  kg::training::Schedule schedule = {};
  double label_smoothing = 0;  ///< see Learner
  double weight_average = 0;   ///< decay of a WeightAverage, which is then what is tested and saved; 0: none
  ImageShape input = {};       ///< what the network takes
  int batch_size = 128;
  int epochs = 15;
  Published published = {};
};

/// All recipes, in the order in which `mnist list` shows them.
std::span<const Recipe> recipes();

/// The recipe with that id. Throws kg::Error, naming those there are, if there is none.
const Recipe& find_recipe(std::string_view id);

}  // namespace mnist
