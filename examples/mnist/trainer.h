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

struct TrainOptions {
  std::optional<int> epochs = {};            ///< default: the recipe's
  std::optional<int> batch_size = {};        ///< default: the recipe's
  std::optional<double> learning_rate = {};  ///< of the first epoch; default: the recipe's
  std::uint64_t seed = 1;
  kg::Device device = {};
  DatasetName dataset = DatasetName::mnist;
  std::filesystem::path out = {};  ///< folder for checkpoint, metrics and figures; made if need be
  bool quiet = false;              ///< no progress line
  bool graph = true;               ///< on CUDA: replay a recorded step instead of launching kernel by kernel
};

/// What a network says about a split in inference.
struct Evaluation {
  double loss = 0;  ///< mean negative log-likelihood per image, in nats
  std::int64_t correct = 0;
  std::vector<int> predictions;
};

Evaluation evaluate(kg::nn::Module& network, const Split& split, kg::Device device);

struct TrainResult {
  std::vector<EpochMetrics> epochs;
  bool interrupted = false;
  GoalVerdict verdict;
};

/// Trains the recipe's network from scratch, prints the progress, and leaves in options.out, whole files all
/// of them: metrics.csv and model.safetensors after every epoch; curves.png, misclassified.png and
/// confusion.png at the end.
///
/// Once `stop` is true training ends after the batch in progress; what finished epochs wrote stays. Throws
/// kg::Error when a loss is not finite, naming epoch and batch (on CUDA some batches later), and when a file
/// cannot be written.
TrainResult train(const Recipe& recipe, const Dataset& data, const TrainOptions& options,
                  const std::atomic<bool>& stop);

/// Writes misclassified.png and confusion.png for an evaluation of the split into the folder `out`.
void write_test_figures(const std::filesystem::path& out, const Split& split, const Evaluation& evaluation,
                        DatasetName dataset);

}  // namespace mnist
