// SPDX-License-Identifier: MIT
#include "command/options.h"

#include <fmt/format.h>

#include <cstdlib>
#include <limits>
#include <sstream>

#include "command/command_line.h"
#include "data/dataset.h"
#include "kernelgrad/kernelgrad.h"
#include "support/suggest.h"
#include "sweep/sweep.h"

namespace mnist {

namespace {

constexpr std::uint64_t max_int = std::numeric_limits<int>::max();

void add_data_option(CLI::App& command, Arguments& arguments, const std::string& default_folder) {
  command
      .add_option("--data", arguments.data,
                  "where the IDX files are: a folder (they may lie deeper in it), a zip archive, or "
                  "FOLDER/BEGINNING of their names (default: $MNIST_DIR, if set and these are MNIST, else " +
                      default_folder + ")")
      ->type_name("DIR");
  command.add_flag("--transposed", arguments.transposed,
                   "the files have columns where rows should be, as EMNIST's do");
}

/// "mnist, fashion-mnist or cifar10"
std::string dataset_list() {
  const std::vector<std::string> ids = dataset_ids();
  return fmt::format("{} or {}", fmt::join(ids.begin(), ids.end() - 1, ", "), ids.back());
}

void add_dataset_option(CLI::App& command, Arguments& arguments, const std::string& description) {
  command.add_option("--dataset", arguments.dataset, description)
      ->check(one_of(dataset_ids()))
      ->each([&arguments](const std::string&) { arguments.dataset_given = true; })
      ->capture_default_str();
}

void add_data_options(CLI::App& command, Arguments& arguments) {
  add_data_option(command, arguments, "data/DATASET");
  add_dataset_option(command, arguments, "what the files are: " + dataset_list());
}

void add_device_options(CLI::App& command, Arguments& arguments) {
  command.add_option("--device", arguments.device, "auto, cpu or cuda")
      ->check(one_of({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command
      .add_option("--threads", arguments.threads,
                  "CPU threads (default: every core); results do not depend on it")
      ->check(whole_number(1, 1024))
      ->type_name("N");
  command
      .add_option("--kernels", arguments.kernels,
                  "on cuda: native, cudnn or fastest, for all operations or as OPERATION=POLICY,... "
                  "(default: $KERNELGRAD_KERNELS, else native)")
      ->check(taken_by([](const std::string& text) { kg::set_kernel_policy(text); }))
      ->type_name("POLICY");
  command.add_flag("--allow-tf32", arguments.allow_tf32,
                   "on cuda: cuDNN and cuBLAS may round factors to TF32");
  command.add_flag("--nondeterministic", arguments.nondeterministic,
                   "on cuda: cuDNN may use algorithms that give other last bits in every run");
}

void add_validation_option(CLI::App& command, Arguments& arguments) {
  command
      .add_option("--validation", arguments.validation,
                  "hold the last N training images out, and test on them instead of on the test images")
      ->check(whole_number(1, max_int))
      ->type_name("N");
}

void add_seed_option(CLI::App& command, Arguments& arguments, const std::string& description) {
  command.add_option("--seed", arguments.seed, description)
      ->check(whole_number(0, std::numeric_limits<std::uint64_t>::max()))
      ->type_name("S")
      ->capture_default_str();
}

void add_epochs_option(CLI::App& command, Arguments& arguments, const std::string& description) {
  command.add_option("--epochs", arguments.epochs, description)
      ->check(whole_number(1, 1'000'000))
      ->type_name("N");
}

void add_checkpoint_argument(CLI::App& command, Arguments& arguments) {
  command
      .add_option("CHECKPOINT", arguments.checkpoint,
                  "model.safetensors of a training run, or weights of another program under PyTorch's names")
      ->required();
  command
      .add_option("--model", arguments.checkpoint_model,
                  "which model it is for (see `mnist list`), if the checkpoint does not say it")
      ->type_name("ID");
}

/// Returns --resume, which not everything goes together with.
CLI::Option* add_train_options(CLI::App& train, Arguments& arguments) {
  train.add_option("--model", arguments.model, "which recipe (see `mnist list`)")
      ->check(taken_by(find_recipe))
      ->type_name("ID")
      ->capture_default_str();
  add_epochs_option(train, arguments, "default: the recipe's");
  train.add_option("--batch-size", arguments.batch_size, "default: the recipe's")
      ->check(whole_number(2, max_int))
      ->type_name("N");
  train
      .add_option("--lr", arguments.learning_rate,
                  "learning rate of the first epoch, of one-cycle the largest (default: the recipe's)")
      ->check(number_from_zero())
      ->type_name("RATE");
  add_validation_option(train, arguments);
  add_seed_option(train, arguments, "the same seed gives the same checkpoint, byte for byte");
  CLI::Option* const out = train.add_option(
      "--out", arguments.out, "folder for the results (default: runs/ID-seedS with what else is no default)");
  out->type_name("DIR");
  CLI::Option* const resume = train.add_option(
      "--resume", arguments.resume,
      "folder of a run to go on with; model, seed and so on are the run's, no other option is needed");
  resume->type_name("DIR")->excludes(out)->configurable(false);
  train.add_flag("--overwrite", arguments.overwrite, "remove the run that is in the folder and train anew")
      ->excludes(resume)
      ->configurable(false);
  train.add_flag("--quiet", arguments.quiet, "no progress, only the verdict");
  train.add_flag("--no-graph", arguments.no_graph,
                 "on cuda: launch each kernel by itself instead of replaying a recorded step; same results");
  add_data_options(train, arguments);
  add_device_options(train, arguments);
  return resume;
}

void add_train(CLI::App& app, Arguments& arguments) {
  CLI::App& train = *app.add_subcommand("train", "Train a model and write checkpoint, metrics and figures");
  add_train_options(train, arguments)->excludes(app.get_config_ptr());
}

void add_sweep(CLI::App& app, Arguments& arguments) {
  CLI::App& sweep = *app.add_subcommand("sweep", "Train many models with many seeds and compare them");
  sweep.add_option("ID", arguments.ids, "which recipes (see `mnist list`; default: all)")
      ->check(taken_by(find_recipe));
  sweep.add_option("--seeds", arguments.seeds, "which seeds, as 1,2,3 or 1-3")
      ->check(taken_by(parse_seeds))
      ->capture_default_str();
  add_epochs_option(sweep, arguments, "default: each recipe's");
  sweep
      .add_option(
          "--jobs", arguments.jobs,
          "how many runs train at the same time; each gets its share of the cores unless --threads says "
          "how many")
      ->check(whole_number(1, 1024))
      ->type_name("N")
      ->capture_default_str();
  sweep
      .add_option("--out", arguments.out,
                  "folder for the results; runs that are there are not trained again (default: runs/sweep)")
      ->type_name("DIR");
  add_validation_option(sweep, arguments);
  add_data_option(sweep, arguments, "data/mnist");
  add_device_options(sweep, arguments);
}

void add_eval(CLI::App& app, Arguments& arguments) {
  CLI::App& eval = *app.add_subcommand("eval", "Test a checkpoint on the test images");
  add_checkpoint_argument(eval, arguments);
  eval.add_option("--out", arguments.out, "folder for figures (default: none are drawn)")->type_name("DIR");
  eval.add_flag("--overwrite", arguments.overwrite, "replace the figures that are in the folder");
  eval.add_flag("--time", arguments.time, "print how long the network took, and its images a second");
  add_seed_option(eval, arguments, "which test images predictions.png shows");
  add_data_options(eval, arguments);
  add_device_options(eval, arguments);
}

void add_predict(CLI::App& app, Arguments& arguments) {
  CLI::App& predict = *app.add_subcommand("predict", "Say which digit each picture shows");
  add_checkpoint_argument(predict, arguments);
  predict
      .add_option("FILE", arguments.files,
                  "PNG, JPEG or BMP pictures of one digit each: any ink on any paper, anywhere on it")
      ->required();
  predict
      .add_option("--save-input", arguments.save_input,
                  "write what the network sees of each picture as a PNG of 28x28: into this folder, or of "
                  "one picture into FILE.png")
      ->type_name("DIR");
  add_dataset_option(predict, arguments, "what the model was trained on: " + dataset_list());
  add_device_options(predict, arguments);
}

void add_tables(CLI::App& app, Arguments& arguments) {
  app.add_subcommand("list", "List the models, with the accuracy that their authors publish");
  CLI::App& summary = *app.add_subcommand("summary", "Print a model's layers");
  CLI::App& rf = *app.add_subcommand(
      "rf", "Print what each of a model's layers sees of the image (its receptive field)");
  for (CLI::App* command : {&summary, &rf})
    command->add_option("ID", arguments.model, "which model (see `mnist list`)")
        ->check(taken_by(find_recipe))
        ->required();
}

/// `mnist help` and `mnist help COMMAND` are `mnist --help` and `mnist COMMAND --help`.
void add_help(CLI::App& app, Arguments& arguments) {
  const std::vector<std::string> others = commands_of(app);
  app.add_subcommand("help", "Explain a command")
      ->add_option("COMMAND", arguments.about, "which command")
      ->check(one_of(others));
}

/// The options that a file can have, by their names in it.
std::vector<std::string> options_in_files(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_configurable()) continue;
    const std::vector<std::string>& long_names = option->get_lnames();
    names.insert(names.end(), long_names.begin(), long_names.end());
  }
  return names;
}

/// The format of option files: CLI11's, with one section for the one command that there is, or none.
class OptionFile : public CLI::ConfigINI {
 public:
  /// For the command that `app` was called with, or `app` itself if it has no commands.
  explicit OptionFile(const CLI::App& app) : app_(app) {}

  std::vector<CLI::ConfigItem> from_config(std::istream& stream) const override {
    const std::vector<CLI::App*> called = app_.get_subcommands();
    if (called.empty() && !app_.get_subcommands(nullptr).empty()) return {};  // that is said without the file
    const CLI::App& command = called.empty() ? app_ : *called.front();
    std::vector<std::string> parents;
    for (const CLI::App* parent : called) parents.push_back(parent->get_name());
    std::vector<CLI::ConfigItem> items;
    for (CLI::ConfigItem& item : CLI::ConfigINI::from_config(stream)) {
      if (item.name == "++" || item.name == "--") continue;  // a section begins or ends
      if (!item.parents.empty() && !parents.empty() && item.parents != parents)
        throw CLI::ConfigError(fmt::format("{} is for another command, expected options of {}",
                                           item.fullname(), fmt::join(parents, " ")),
                               CLI::ExitCodes::ConfigError);
      // Some versions of CLI11 name the value instead.
      if (!command.get_option_no_throw("--" + item.name) && !command.get_option_no_throw(item.name))
        throw CLI::ConfigError(fmt::format("unknown option {} in the file{}", item.name,
                                           did_you_mean(item.name, options_in_files(command))),
                               CLI::ExitCodes::ConfigError);
      item.parents = parents;
      items.push_back(std::move(item));
    }
    return items;
  }

 private:
  const CLI::App& app_;
};

}  // namespace

std::filesystem::path data_directory(const Arguments& arguments) {
  if (!arguments.data.empty()) return arguments.data;
  // Of another data set it says nothing.
  if (const char* from_environment = std::getenv("MNIST_DIR");
      from_environment && *from_environment && arguments.dataset == "mnist")
    return from_environment;
  return "data/" + arguments.dataset;
}

std::unique_ptr<CLI::App> command_line(Arguments& arguments) {
  auto owner = std::make_unique<CLI::App>("Trains and applies small networks for MNIST.", "mnist");
  CLI::App& app = *owner;
  app.fallthrough();  // --config after the command
  app.require_subcommand(1);
  app.set_version_flag("--version", fmt::format("mnist (kernelgrad) {}", kg::version()),
                       "print the version and exit");
  app.set_config(
         "--config", "",
         "file with options of the command, a line each as in options.ini of a training run; those of "
         "the command line count more")
      ->type_name("FILE");
  app.allow_config_extras(false);
  app.config_formatter(std::make_shared<OptionFile>(app));
  for (const auto add : {add_train, add_sweep, add_eval, add_predict, add_tables}) add(app, arguments);
  add_help(app, arguments);
  // The commands would inherit it.
  app.footer(
      "`mnist COMMAND --help` explains a command.\n"
      "Exit codes: 0 success, 1 the command failed, 2 the command line cannot be carried out as it is.");
  return owner;
}

std::unique_ptr<CLI::App> train_options(Arguments& arguments) {
  auto owner = std::make_unique<CLI::App>();
  add_train_options(*owner, arguments);
  owner->allow_config_extras(false);
  owner->config_formatter(std::make_shared<OptionFile>(*owner));
  return owner;
}

std::vector<std::string> options_of_run(const Recipe& recipe, const Arguments& arguments, kg::Device device) {
  std::vector<std::string> words = {
      "--model",      std::string(recipe.id),
      "--dataset",    arguments.dataset,
      "--data",       std::filesystem::absolute(data_directory(arguments)),
      "--epochs",     std::to_string(arguments.epochs.value_or(recipe.epochs)),
      "--batch-size", std::to_string(arguments.batch_size.value_or(recipe.batch_size)),
      "--lr",         fmt::format("{}", arguments.learning_rate.value_or(recipe.sgd.learning_rate)),
      "--seed",       std::to_string(arguments.seed),
      "--device",     device.name()};
  if (arguments.validation)
    words.insert(words.end(), {"--validation", std::to_string(*arguments.validation)});
  if (!arguments.kernels.empty()) words.insert(words.end(), {"--kernels", arguments.kernels});
  if (arguments.transposed) words.push_back("--transposed");
  if (arguments.allow_tf32) words.push_back("--allow-tf32");
  if (arguments.nondeterministic) words.push_back("--nondeterministic");
  return words;
}

std::string options_text(const std::vector<std::string>& words) {
  Arguments arguments, again;
  const auto writer = train_options(arguments), reader = train_options(again);
  writer->parse(std::vector(words.rbegin(), words.rend()));
  std::istringstream text(writer->config_to_str());
  try {
    reader->parse_from_stream(text);
  } catch (const CLI::Error&) {
    again.data.clear();
  }
  if (again.data != arguments.data) writer->get_option("--data")->clear();
  return "; mnist train --config options.ini\n[train]\n" + writer->config_to_str();
}

}  // namespace mnist
