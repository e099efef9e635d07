// SPDX-License-Identifier: MIT
/// Files of options, as --config takes: what `mnist train` accepts is written as options.ini that reads as
/// the same. No command runs.

#include "command/options.h"

#include <algorithm>

#include "command/command_line.h"
#include "fuzz/fuzz.h"

namespace {

using kg::fuzz::MemoryFile;
using kg::fuzz::require;
using mnist::Arguments;

/// The arguments of `mnist COMMAND... --config FILE`. Nothing where the file is not accepted: that has an
/// explanation.
std::optional<Arguments> read(const MemoryFile& file, std::vector<std::string> command) {
  // It takes a millisecond to make.
  static Arguments arguments;
  static const auto app = mnist::command_line(arguments);
  arguments = {};
  command.insert(command.end(), {"--config", file.path()});
  std::ranges::reverse(command);  // as CLI11 wants it
  try {
    app->parse(command);
    return arguments;
  } catch (const CLI::ParseError& error) {
    require(!mnist::explain(*app, error).empty(), "no explanation");
    return std::nullopt;
  }
}

/// Whether `again` trains the same, with nothing left to a default but the data's place.
bool is_same_run(const Arguments& again, const Arguments& first, const mnist::Recipe& recipe) {
  return again.model == first.model && again.dataset == first.dataset && again.device == "cpu" &&
         again.epochs == first.epochs.value_or(recipe.epochs) &&
         again.batch_size == first.batch_size.value_or(recipe.batch_size) &&
         again.learning_rate == first.learning_rate.value_or(recipe.sgd.learning_rate) &&
         again.seed == first.seed && again.validation == first.validation && again.kernels == first.kernels &&
         again.transposed == first.transposed && again.allow_tf32 == first.allow_tf32 &&
         again.nondeterministic == first.nondeterministic;
}

void check_written(MemoryFile& file, const Arguments& arguments) {
  const mnist::Recipe& recipe = mnist::find_recipe(arguments.model);
  file.write(mnist::options_text(mnist::options_of_run(recipe, arguments, kg::Device::cpu())));
  const std::optional<Arguments> again = read(file, {"train"});
  require(again.has_value(), "what was written is not read");
  require(is_same_run(*again, arguments, recipe), "what was written reads differently");
  require(again->data.empty() || again->data == std::filesystem::absolute(mnist::data_directory(arguments)),
          "the data's place reads differently");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  const std::span<const std::uint8_t> input(data, size);
  file.write(input);
  for (const std::vector<std::string>& command : {std::vector<std::string>{"sweep"},
                                                  {"eval", "CHECKPOINT"},
                                                  {"predict", "CHECKPOINT", "FILE"},
                                                  {"list"}})
    read(file, command);
  if (const auto arguments = read(file, {"train"})) check_written(file, *arguments);
  return 0;
}
