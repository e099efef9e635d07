// SPDX-License-Identifier: MIT
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernelgrad/device.h"
#include "models/recipe.h"

/// The options of the program, on its command line and in files.
namespace mnist {

/// The options of every command, as they were given.
struct Arguments {
  std::string model = "s7_final", device = "auto", dataset = "mnist";
  std::string data, out, resume;
  bool overwrite = false, dataset_given = false, time = false;
  bool transposed = false;
  std::optional<int> epochs, batch_size, threads, validation;
  std::optional<double> learning_rate;
  std::uint64_t seed = 1;
  bool quiet = false, no_graph = false;
  std::string kernels;
  bool allow_tf32 = false, nondeterministic = false;
  std::string checkpoint, checkpoint_model;
  std::vector<std::string> files;
  std::string save_input;
  std::vector<std::string> ids;
  std::string seeds = "1-3";
  std::string about;
  int jobs = 1;
};

/// Where the data are said to be, or else looked for.
std::filesystem::path data_directory(const Arguments& arguments);

/// The parser of the program's command line. It sets the arguments, which must outlive it.
std::unique_ptr<CLI::App> command_line(Arguments& arguments);

/// The parser of the options of `mnist train` by themselves, likewise.
std::unique_ptr<CLI::App> train_options(Arguments& arguments);

/// `mnist train` with nothing left to a default that may change: the words for options.ini.
std::vector<std::string> options_of_run(const Recipe& recipe, const Arguments& arguments, kg::Device device);

/// What options.ini has for the words of a command line. A name that CLI11 would not read again as it writes
/// it is left out.
std::string options_text(const std::vector<std::string>& words);

}  // namespace mnist
