// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "kernelgrad/device.h"
#include "kernelgrad/nn.h"
#include "models/recipe.h"
#include "report/metrics.h"

namespace mnist {

/// What becomes of a run that is in the folder already.
enum class Existing : std::uint8_t {
  refuse,     ///< an error, unless it has no whole epoch
  overwrite,  ///< its files are removed
  resume,     ///< it goes on; an error if there is none
};

/// What of a run is not in its recipe, and what of its recipe is to be otherwise.
struct TrainOptions {
  std::optional<int> epochs = {};            ///< default: the recipe's
  std::optional<int> batch_size = {};        ///< default: the recipe's
  std::optional<double> learning_rate = {};  ///< the first, with one-cycle the largest; default: the recipe's
  std::uint64_t seed = 1;
  kg::Device device = {};
  DatasetName dataset = DatasetName::mnist;
  std::filesystem::path out = {};  ///< folder of the run; made if need be
  Existing existing = Existing::refuse;
  std::string heading = {};  ///< is printed first, and what train.log begins with
  /// The command line that asks for this run, for who resumes it, and the text of options.ini, which is not
  /// written if this is empty.
  std::vector<std::string> command = {};
  std::string options_text = {};
  bool quiet = false;  ///< prints nothing but the heading
  bool graph = true;   ///< on CUDA: replay a recorded step instead of launching kernel by kernel
};

/// What a network says about a split in inference.
struct Evaluation {
  double loss = 0;  ///< mean negative log-likelihood per image, in nats
  std::int64_t correct = 0;
  std::vector<int> predictions;
  double seconds = 0;  ///< that it took, from pixels to predictions
};

/// Runs the network in inference over the split, and leaves it in the mode that it was in. The network is on
/// `device`, and gives log-probabilities. Without a normalisation, pixels have the split's.
Evaluation evaluate(kg::nn::Module& network, const Split& split, kg::Device device,
                    const std::vector<Normalization>& normalization = {});

/// What a run came to.
struct TrainResult {
  std::vector<EpochMetrics> epochs;  ///< the whole ones
  bool interrupted = false;
  bool was_finished = false;  ///< before: nothing was trained, nothing written
  std::string last_line;      ///< of the log: the verdict on the goal, or when training was interrupted
};

/// Trains the recipe's network from scratch, or goes on with that, prints the progress, and leaves in
/// options.out, whole files all of them: state.safetensors (RunState), model.safetensors, best.safetensors
/// and the files of Report::write() after every epoch; those of Report::finish() and write_test_report(), and
/// augmented.png, at the end.
///
/// A run that was killed at any moment and resumed leaves the same bytes as one that was not, but for the
/// seconds of its epochs. The folder is locked meanwhile, and never has files of two runs; those that have
/// other names are left alone.
///
/// Once `stop` is true training ends after the batch in progress; what finished epochs wrote stays. Throws
/// kg::Error for a label smoothing outside [0, 1] and for a decay that WeightAverage refuses, when a loss is
/// not finite, naming epoch and batch (on CUDA some batches later), when a file cannot be written, for what
/// options.existing refuses, and, resuming, if recipe, data, options or version are not the run's.
TrainResult train(const Recipe& recipe, const Dataset& data, const TrainOptions& options,
                  const std::atomic<bool>& stop);

}  // namespace mnist
