// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "kernelgrad/nn.h"
#include "report/report.h"

namespace mnist {

/// Where a training run stands after its last whole epoch: all that it needs to go on as if it had never
/// ended. It is one file, replaced as a whole: the moment at which that happens is the moment at which an
/// epoch counts. All else in the folder of a run follows from it.
struct RunState {
  /// What the run is: model, seed, learning rate, checksums of recipe and data. A run that goes on must have
  /// the same.
  std::map<std::string, std::string> identity = {};
  int planned_epochs = 0;                 ///< of the whole run
  std::vector<std::string> command = {};  ///< line that asks for the run, as TrainOptions has it
  std::string heading = {};               ///< what train.log begins with
  bool finished = false;                  ///< all files of the end are written
  std::vector<TrainedEpoch> epochs = {};
  // Of the first epoch on:
  kg::nn::StateDict trained = {};    ///< the network's
  kg::nn::StateDict averaged = {};   ///< that of the average of its weights, if there is one
  std::int64_t average_steps = 0;    ///< of WeightAverage
  kg::nn::StateDict best = {};       ///< those that were tested in the best epoch
  kg::nn::StateDict optimizer = {};  ///< of kg::training::Optimizer
  double learning_rate = 0, momentum = 0;
  std::vector<double> schedule = {};  ///< of Scheduler
  std::uint64_t seed = 0, draws = 0;  ///< of kg::default_generator()
};

/// The name of the file in a run's folder.
inline constexpr const char* state_file = "state.safetensors";

/// Writes the file with kg::write_file(). Where a run stands, `seconds` alone is no function of what it is.
void save_state(const std::filesystem::path& folder, const RunState& state);

/// Throws kg::Error, naming the file, where it is none that save_state() wrote.
RunState load_state(const std::filesystem::path& folder);

/// Whether the file is there.
bool has_state(const std::filesystem::path& folder);

}  // namespace mnist
