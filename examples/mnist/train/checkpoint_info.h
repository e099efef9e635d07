// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "kernelgrad/nn.h"
#include "models/recipe.h"
#include "report/metrics.h"

namespace mnist {

/// What a checkpoint says about itself in its metadata. Those of other programs say nothing.
struct CheckpointInfo {
  std::optional<std::string> model;               ///< recipe's id
  std::optional<std::string> dataset;             ///< that it was trained on, as id_of() names it
  std::vector<std::string> class_names = {};      ///< by label; empty: not said
  std::vector<Normalization> normalization = {};  ///< of each channel of its pictures
  int channels = 0, height = 0, width = 0;        ///< of its pictures
  std::string tested_on = {};                     ///< the images that its accuracy is of, with their checksum
};

/// Whose weights a checkpoint has.
struct TrainedModel {
  const Recipe& recipe;
  DatasetName dataset;
  std::uint64_t seed;
  const Split& tested;
  const EpochMetrics& epoch;
};

/// The metadata of a checkpoint: all that CheckpointInfo has, and recipe, epoch, seed, accuracy and the
/// version of the library.
std::map<std::string, std::string> metadata_of(const TrainedModel& model);

/// What metadata say. Throws kg::Error for what is there and cannot be: class names, means or
/// deviations in another number than expected, numbers that are none.
CheckpointInfo info_of(const std::map<std::string, std::string>& metadata);

/// "test 10000 190e897b": a split's name, number of images and checksum.
std::string identity_of(const Split& split);

/// Throws kg::Error naming the first that has one, if a value of the tensors is NaN or infinite.
void require_finite(const kg::nn::StateDict& tensors);

}  // namespace mnist
