#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dataset.h"
#include "kernelgrad/device.h"
#include "kernelgrad/nn.h"
#include "metrics.h"
#include "models.h"

namespace mnist {

/// What of a run is not in its recipe, and what of its recipe is to be otherwise.
struct TrainOptions {
  std::optional<int> epochs = {};            ///< default: the recipe's
  std::optional<int> batch_size = {};        ///< default: the recipe's
  std::optional<double> learning_rate = {};  ///< the first, with one-cycle the largest; default: the recipe's
  std::uint64_t seed = 1;
  kg::Device device = {};
  DatasetName dataset = DatasetName::mnist;
  std::filesystem::path out = {};  ///< folder for checkpoint, metrics and figures; made if need be
  std::string heading = {};        ///< what train.log begins with: lines that were printed already
  bool quiet = false;              ///< prints nothing
  bool graph = true;               ///< on CUDA: replay a recorded step instead of launching kernel by kernel
};

/// What a network says about a split in inference.
struct Evaluation {
  double loss = 0;  ///< mean negative log-likelihood per image, in nats
  std::int64_t correct = 0;
  std::vector<int> predictions;
};

/// Runs the network in inference over the split, and leaves it in the mode that it was in. The network is on
/// `device`, and gives log-probabilities.
Evaluation evaluate(kg::nn::Module& network, const Split& split, kg::Device device);

/// What a run came to.
struct TrainResult {
  std::vector<EpochMetrics> epochs;  ///< the whole ones
  bool interrupted = false;
  std::string last_line;  ///< of the log: the verdict on the goal, or when training was interrupted
};

/// Trains the recipe's network from scratch, prints the progress, and leaves in options.out, whole files all
/// of them: model.safetensors and the files of Report::add_epoch() after every epoch; those of
/// Report::finish() and write_test_report(), and augmented.png, at the end.
///
/// Once `stop` is true training ends after the batch in progress; what finished epochs wrote stays. Throws
/// kg::Error for a label smoothing outside [0, 1] and for a decay that WeightAverage refuses, when a loss is
/// not finite, naming epoch and batch (on CUDA some batches later), and when a file cannot be written.
TrainResult train(const Recipe& recipe, const Dataset& data, const TrainOptions& options,
                  const std::atomic<bool>& stop);

}  // namespace mnist
