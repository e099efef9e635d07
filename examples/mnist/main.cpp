// SPDX-License-Identifier: MIT
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <sstream>

#include "command/command_line.h"
#include "command/options.h"
#include "data/dataset_files.h"
#include "kernelgrad/kernelgrad.h"
#include "models/receptive_field.h"
#include "models/summary.h"
#include "predict/digit.h"
#include "predict/picture.h"
#include "report/figures.h"
#include "report/png_file.h"
#include "report/progress.h"
#include "report/report.h"
#include "support/files.h"
#include "sweep/sweep.h"
#include "train/checkpoint_info.h"
#include "train/fingerprints.h"
#include "train/run_state.h"
#include "train/trainer.h"

namespace {

using mnist::Arguments;

std::atomic<bool> stop = false;
std::atomic<int> stop_signal = 0;

void request_stop(int signal) {
  stop_signal = signal;
  stop = true;
  std::signal(signal, SIG_DFL);  // a second one ends the program at once
}

/// What the launcher of the program ignores stays ignored: Ctrl-C is not for a training in the background,
/// nor is the end of the terminal for one under nohup.
void stop_on_signals() {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    if (std::signal(signal, request_stop) == SIG_IGN) std::signal(signal, SIG_IGN);
}

/// What a shell says of a program that a signal has ended.
int interrupted_status() { return 128 + stop_signal; }

/// What the arguments name is one: the command line sees to it.
mnist::DatasetName dataset_name(const Arguments& arguments) {
  return mnist::find_description(arguments.dataset)->name;
}

/// Where the data are. Throws kg::Error if there is nothing.
std::filesystem::path require_data(const Arguments& arguments) {
  const std::filesystem::path place = mnist::data_directory(arguments);
  if (mnist::may_hold_dataset(place)) return place;
  throw kg::Error(place.string() +
                  ": no such folder, expected one with the four IDX files; --data DIR names another, for "
                  "MNIST MNIST_DIR does too, and scripts/get-mnist fetches that into data/mnist");
}

/// Throws if these are known to be the images of another data set than that which `whose` are of.
void check_data(const mnist::Dataset& data, const Arguments& arguments, const std::string& whose) {
  for (const mnist::Split* split : {&data.train, &data.test})
    if (const auto known = mnist::known_data(*split); known && *known != dataset_name(arguments))
      throw kg::Error(fmt::format("{}: holds the images of {}, expected those of {}{}",
                                  kg::printable(mnist::data_directory(arguments).string()),
                                  mnist::id_of(*known), arguments.dataset, whose));
}

mnist::Dataset load_data(const Arguments& arguments) {
  const std::filesystem::path place = require_data(arguments);
  mnist::Dataset data =
      mnist::load_dataset(place, {.transposed = arguments.transposed, .name = dataset_name(arguments)});
  if (!data.notice.empty()) mnist::complain(data.notice);
  // A checkpoint knows for itself what it is of.
  check_data(data, arguments,
             arguments.checkpoint.empty()
                 ? "; --dataset says what they are"
                 : ", on which " + kg::printable(arguments.checkpoint) + " was trained");
  if (!arguments.validation) return data;
  if (*arguments.validation >= data.train.count)
    throw mnist::UsageError(fmt::format(
        "--validation: \"{}\" given, expected a whole number from 1 to {}: there are {} training images",
        *arguments.validation, data.train.count - 1, data.train.count));
  return mnist::with_validation(std::move(data), *arguments.validation);
}

/// What the policy of the kernels is set from: the option, else the environment.
std::string kernels_of(const Arguments& arguments) {
  if (!arguments.kernels.empty()) return arguments.kernels;
  const char* from_environment = std::getenv("KERNELGRAD_KERNELS");
  return from_environment ? from_environment : "";
}

/// Sets which implementation of the operations runs on the device, as far as the arguments say it.
void choose_kernels(const Arguments& arguments, kg::Device device) {
  const kg::CudnnOptions options{.allow_tf32 = arguments.allow_tf32,
                                 .deterministic = !arguments.nondeterministic};
  const bool says_something = !arguments.kernels.empty() || options.allow_tf32 || !options.deterministic;
  if (says_something && !device.is_cuda())
    throw mnist::UsageError(
        "--kernels, --allow-tf32 and --nondeterministic are for --device cuda, and the device is " +
        device.name());
  if (!arguments.kernels.empty()) kg::set_kernel_policy(arguments.kernels);
  kg::set_cudnn_options(options);
}

struct ChosenDevice {
  kg::Device device;
  std::string line;  ///< says which and why
};

ChosenDevice choose_device(const Arguments& arguments) {
  if (arguments.threads) kg::set_num_threads(*arguments.threads);
  const kg::Device device = kg::Device::parse(arguments.device);
  choose_kernels(arguments, device);
  std::string more;
  if (device.is_cuda())
    more = " (" + kg::cuda_device_name() + ")";
  else if (arguments.device == "auto")
    more = " (auto: " + kg::cuda_unavailable_reason() + ")";
  return {device, fmt::format("device: {}{}, {} CPU thread{}\n", device.name(), more, kg::num_threads(),
                              kg::num_threads() == 1 ? "" : "s")};
}

/// Throws if a batch is asked for that there are not the images for. The recipe's own is always taken: it is
/// the default, and the options that a run leaves behind name it.
void check_batch_size(const mnist::Recipe& recipe, const Arguments& arguments, const mnist::Dataset& data) {
  const int batch_size = arguments.batch_size.value_or(recipe.batch_size);
  if (batch_size != recipe.batch_size && batch_size > data.train.count)
    throw mnist::UsageError(fmt::format(
        "--batch-size: \"{}\" given, expected a whole number from 2 to {}, the number of training images",
        batch_size, data.train.count));
}

/// The folder of a run that names none: with all that tells it from others but for the data's place.
std::string default_folder(const mnist::Recipe& recipe, const Arguments& arguments, kg::Device device) {
  std::string name = fmt::format("runs/{}-seed{}", recipe.id, arguments.seed);
  const auto add = [&](bool differs, const std::string& text) {
    if (differs) name += "-" + text;
  };
  const int epochs = arguments.epochs.value_or(recipe.epochs);
  const int batch_size = arguments.batch_size.value_or(recipe.batch_size);
  const double learning_rate = arguments.learning_rate.value_or(recipe.sgd.learning_rate);
  add(arguments.dataset != "mnist", arguments.dataset);
  add(arguments.transposed, "transposed");
  add(arguments.validation.has_value(), fmt::format("validation{}", arguments.validation.value_or(0)));
  add(epochs != recipe.epochs, fmt::format("epochs{}", epochs));
  add(batch_size != recipe.batch_size, fmt::format("batch{}", batch_size));
  add(learning_rate != recipe.sgd.learning_rate, fmt::format("lr{}", learning_rate));
  add(device.is_cuda(), "cuda");
  add(!arguments.kernels.empty(), arguments.kernels);
  add(arguments.allow_tf32, "tf32");
  add(arguments.nondeterministic, "nondeterministic");
  return name;
}

int run_train(const Arguments& arguments) {
  const mnist::Recipe& recipe = mnist::find_recipe(arguments.model);
  mnist::require_no_file(arguments.out);
  mnist::require_font();
  const mnist::Dataset data = load_data(arguments);
  check_batch_size(recipe, arguments, data);
  const auto [device, device_line] = choose_device(arguments);
  const bool resumes = !arguments.resume.empty();
  const std::filesystem::path out = resumes                 ? arguments.resume
                                    : arguments.out.empty() ? default_folder(recipe, arguments, device)
                                                            : arguments.out;
  const std::vector<std::string> command = mnist::options_of_run(recipe, arguments, device);
  const std::string heading =
      device_line +
      fmt::format("model: {}, {} parameters; {} training images, {} {} images; results in {}\n\n", recipe.id,
                  mnist::with_thousands(recipe.network().parameter_count()),
                  mnist::with_thousands(data.train.count), mnist::with_thousands(data.test.count),
                  data.test.name, out.string());
  stop_on_signals();
  const mnist::TrainResult result =
      mnist::train(recipe, data,
                   {.epochs = arguments.epochs,
                    .batch_size = arguments.batch_size,
                    .learning_rate = arguments.learning_rate,
                    .seed = arguments.seed,
                    .device = device,
                    .dataset = dataset_name(arguments),
                    .out = out,
                    .existing = resumes               ? mnist::Existing::resume
                                : arguments.overwrite ? mnist::Existing::overwrite
                                                      : mnist::Existing::refuse,
                    .heading = heading,
                    .command = command,
                    .options_text = mnist::options_text(command),
                    .quiet = arguments.quiet,
                    .graph = !arguments.no_graph},
                   stop);
  if (result.interrupted) {
    mnist::complain(fmt::format("{}; `mnist train --resume {}` goes on", result.last_line, out.string()));
    return interrupted_status();
  }
  if (result.was_finished) fmt::print("{}: this run is finished, nothing is left to do\n", out.string());
  fmt::print("{}\n", result.last_line);
  if (!kernels_of(arguments).empty()) fmt::print("\nkernels:\n{}", kg::backend_choices_table());
  return 0;
}

/// What every run of a sweep is given, but for its model, seed and folder.
mnist::SweepOptions sweep_options(const Arguments& arguments, kg::Device device) {
  mnist::SweepOptions options{.ids = arguments.ids,
                              .seeds = mnist::parse_seeds(arguments.seeds),
                              .epochs = arguments.epochs,
                              .validation = arguments.validation,
                              .jobs = arguments.jobs,
                              .settings = {"--device", device.name()}};
  if (!arguments.out.empty()) options.out = arguments.out;
  if (const std::string kernels = kernels_of(arguments); device.is_cuda() && !kernels.empty())
    options.settings.insert(options.settings.end(), {"--kernels", kernels});
  if (arguments.allow_tf32) options.settings.push_back("--allow-tf32");
  if (arguments.nondeterministic) options.settings.push_back("--nondeterministic");
  const int threads = arguments.threads.value_or(std::max(1, kg::num_threads() / arguments.jobs));
  options.other_arguments = {"--threads", std::to_string(threads), "--data",
                             mnist::data_directory(arguments)};
  if (arguments.transposed) options.other_arguments.push_back("--transposed");
  return options;
}

int run_sweep(const Arguments& arguments) {
  mnist::require_no_file(arguments.out);
  require_data(arguments);
  mnist::require_font();
  const auto [device, device_line] = choose_device(arguments);
  const mnist::SweepOptions options = sweep_options(arguments, device);
  const mnist::Dataset data = load_data(arguments);
  fmt::print("{}", device_line);
  stop_on_signals();
  // Where the launcher ignores it, the system forgets how a child ended.
  std::signal(SIGCHLD, SIG_DFL);
  const mnist::SweepResult result = mnist::sweep(data, options, stop);
  if (result.interrupted) {
    mnist::complain(fmt::format("interrupted: {} of {} runs are done; the same command does the rest",
                                result.done, result.runs));
    return interrupted_status();
  }
  if (result.failed == 0) return 0;
  mnist::complain(fmt::format("{} of {} runs failed: see output.txt in their folders below {}", result.failed,
                              result.runs, options.out.string()));
  return mnist::failed;
}

/// The model that a checkpoint is for: what it says itself, otherwise what --model says.
std::string model_of(const kg::Checkpoint& checkpoint, const Arguments& arguments) {
  const auto named = checkpoint.metadata.find("model");
  const std::string& given = arguments.checkpoint_model;
  if (named == checkpoint.metadata.end() && given.empty())
    throw kg::Error(
        kg::printable(arguments.checkpoint) +
        ": its metadata names no model, as a checkpoint of `mnist train` does; say with --model ID "
        "which it is for");
  if (named == checkpoint.metadata.end()) return given;
  if (!given.empty() && given != named->second)
    throw kg::Error(kg::printable(arguments.checkpoint) + ": is for model " + kg::printable(named->second) +
                    ", --model says " + kg::printable(given));
  return named->second;
}

/// Copies a checkpoint's tensors into a network. All of the network's must be there; `notices` says what else
/// there is.
void load_weights(kg::nn::Sequential& network, const kg::Checkpoint& checkpoint,
                  const std::string& checkpoint_name, std::FILE* notices) {
  const kg::nn::LoadResult loaded =
      network.load_state_dict(checkpoint.tensors, {.strict = false, .unreadable = checkpoint.unreadable});
  // Once more, for the error that says everything.
  if (!loaded.missing_keys.empty())
    network.load_state_dict(checkpoint.tensors, {.unreadable = checkpoint.unreadable});
  if (!loaded.stripped_prefix.empty())
    fmt::print(notices, "{}: the prefix {} of every name is taken off\n", checkpoint_name,
               kg::in_quotes(loaded.stripped_prefix));
  constexpr std::size_t most_told = 20;
  for (std::size_t i = 0; i < std::min(most_told, loaded.unexpected_keys.size()); ++i)
    fmt::print(notices, "{}: the model has no {}, it is left out\n", checkpoint_name,
               kg::in_quotes(loaded.unexpected_keys[i]));
  if (loaded.unexpected_keys.size() > most_told)
    fmt::print(notices, "{}: and {} more\n", checkpoint_name, loaded.unexpected_keys.size() - most_told);
}

/// A network with the weights of a checkpoint, and what that says about itself.
struct LoadedNetwork {
  kg::nn::Sequential network;
  mnist::CheckpointInfo info;
};

/// `notices` says how the weights had to be fitted.
LoadedNetwork load_network(const Arguments& arguments, kg::Device device, std::FILE* notices) {
  const kg::Checkpoint checkpoint = kg::load_checkpoint(arguments.checkpoint);
  const std::string model = model_of(checkpoint, arguments);
  const std::string name = kg::printable(arguments.checkpoint);
  LoadedNetwork loaded;
  try {
    loaded.info = mnist::info_of(checkpoint.metadata);
    loaded.network = mnist::find_recipe(model).network();
    load_weights(loaded.network, checkpoint, name, notices);
    mnist::require_finite(loaded.network.state_dict());
  } catch (const kg::Error& error) {
    throw kg::Error(name + ": is for model " + kg::printable(model) + ": " + error.what());
  }
  loaded.network.to(device);
  loaded.network.eval();
  return loaded;
}

/// The arguments with the data set that the checkpoint was trained on, where it says so.
Arguments with_dataset_of(const mnist::CheckpointInfo& info, Arguments arguments) {
  if (!info.dataset) return arguments;
  const std::string name = kg::printable(arguments.checkpoint), dataset = kg::printable(*info.dataset);
  if (arguments.dataset_given && arguments.dataset != *info.dataset)
    throw kg::Error(fmt::format("{}: was trained on {}, --dataset says {}; leave it out", name, dataset,
                                arguments.dataset));
  if (!mnist::find_description(*info.dataset))
    throw kg::Error(fmt::format("{}: was trained on {}, which is none of {}", name, dataset,
                                fmt::join(mnist::dataset_ids(), ", ")));
  arguments.dataset = *info.dataset;
  return arguments;
}

/// What the classes are called: by the checkpoint, otherwise by its data set.
std::vector<std::string> class_names_of(const mnist::CheckpointInfo& info, const Arguments& arguments) {
  if (!info.class_names.empty()) return info.class_names;
  const auto names = mnist::class_names(dataset_name(arguments));
  return {names.begin(), names.end()};
}

/// Throws unless the pictures are such as the network was trained on.
void check_pictures(const mnist::CheckpointInfo& info, const Arguments& arguments,
                    const mnist::ImageShape& given) {
  if (info.channels != given.channels)
    throw kg::Error(fmt::format("{}: is for pictures of {} channels, and these have {}",
                                kg::printable(arguments.checkpoint), info.channels, given.channels));
  if (info.height != given.height || info.width != given.width)
    throw kg::Error(fmt::format("{}: is for pictures of {}x{}, and these are {}x{}",
                                kg::printable(arguments.checkpoint), info.height, info.width, given.height,
                                given.width));
}

/// Throws where figures would take the place of others.
void check_report_folder(const Arguments& arguments) {
  if (mnist::has_state(arguments.out))
    throw kg::Error(kg::printable(arguments.out) +
                    ": has a training run, whose figures stay; give another folder with --out");
  for (const char* name : mnist::test_report_files())
    if (!arguments.overwrite && std::filesystem::exists(std::filesystem::path(arguments.out) / name))
      throw kg::Error(kg::printable(arguments.out) + ": has " + name +
                      " already; give another folder with --out, or --overwrite");
}

int run_eval(const Arguments& given) {
  mnist::require_file(given.checkpoint);
  mnist::require_no_file(given.out);
  if (!given.out.empty()) mnist::require_font();
  // Otherwise the checkpoint says which data set's folder it is.
  if (!given.data.empty()) require_data(given);
  const auto [device, device_line] = choose_device(given);
  fmt::print("{}", device_line);
  auto [network, info] = load_network(given, device, stdout);
  const Arguments arguments = with_dataset_of(info, given);
  const mnist::Dataset data = load_data(arguments);
  check_pictures(info, arguments, {data.test.channels, data.test.height, data.test.width});
  const mnist::DatasetName dataset = dataset_name(arguments);
  if (!std::ranges::equal(class_names_of(info, arguments), mnist::class_names(dataset)))
    throw kg::Error(kg::printable(arguments.checkpoint) + ": its classes are not those of " +
                    arguments.dataset);
  if (info.tested_on.starts_with(mnist::test_name) && info.tested_on != mnist::identity_of(data.test))
    fmt::print("note: these are other test images than those that the training tested on\n");
  const mnist::Evaluation evaluation = mnist::evaluate(network, data.test, device, info.normalization);
  if (!std::isfinite(evaluation.loss))
    throw kg::Error(fmt::format("{}: the loss of the test images is {}: the network gives no probabilities",
                                kg::printable(arguments.checkpoint), evaluation.loss));
  fmt::print(
      "{}{}", mnist::test_line(data.test.name, evaluation.loss, evaluation.correct, data.test.count),
      mnist::class_accuracy_lines(mnist::confusion_of(data.test, evaluation.predictions, dataset), dataset));
  if (arguments.time)
    fmt::print("\n{} images in {:.3f} s, {:.0f} a second\n", data.test.count, evaluation.seconds,
               data.test.count / evaluation.seconds);
  if (arguments.out.empty()) return 0;
  const mnist::FolderLock lock(arguments.out);
  check_report_folder(arguments);
  mnist::write_test_report(arguments.out, data.test, evaluation.predictions, dataset, arguments.seed);
  fmt::print("\nfigures in {}\n", arguments.out);
  return 0;
}

/// What the network is to see of a picture.
mnist::GreyImage network_input(const std::filesystem::path& file, mnist::DatasetName dataset) {
  mnist::Picture picture = mnist::read_picture(file);
  if (dataset == mnist::DatasetName::mnist) return mnist::as_mnist(std::move(picture));
  return mnist::fit_to(mnist::white_on_black(mnist::to_gray(std::move(picture))), 28, 28);
}

/// Where --save-input puts what the network saw of a picture: the file itself that was named, or one in the
/// folder that was, called as the picture.
std::filesystem::path saved_input(const Arguments& arguments, const std::filesystem::path& file) {
  const std::filesystem::path given = arguments.save_input;
  if (given.extension() == ".png" && !std::filesystem::is_directory(given)) return given;
  return given / file.filename().replace_extension(".png");
}

/// Refuses to write over a picture that is given, or over what another one's is.
void check_saved_inputs(const Arguments& arguments) {
  std::set<std::filesystem::path> taken;
  for (const std::string& file : arguments.files) {
    const std::filesystem::path saved = saved_input(arguments, file);
    std::error_code none;
    if (taken.insert(saved).second && !std::filesystem::equivalent(saved, file, none)) continue;
    throw mnist::UsageError(
        fmt::format("--save-input {}: {} would be overwritten for {}, expected a folder for pictures of "
                    "different names",
                    arguments.save_input, saved.string(), file));
  }
}

/// Prints what the network says of the picture.
void predict(LoadedNetwork& loaded, const Arguments& arguments, const std::string& file, kg::Device device) {
  const mnist::GreyImage digit = network_input(file, dataset_name(arguments));
  if (!arguments.save_input.empty())
    mnist::write_png(saved_input(arguments, file), {digit.width, digit.height, 1, digit.pixels});
  kg::Tensor image = kg::Tensor::empty({1, 1, digit.height, digit.width});
  const auto& [mean, std] = loaded.info.normalization.front();
  mnist::Normalize(mean, std)(digit.pixels, image.data<float>());
  const kg::Tensor output = loaded.network(image.to(device));
  const std::size_t prediction = static_cast<std::size_t>(kg::argmax(output).item());
  const float log_probability = output.to_vector<float>()[prediction];
  if (!std::isfinite(log_probability))
    throw kg::Error(fmt::format("{}: its answer to {} is {}: the network gives no probabilities",
                                kg::printable(arguments.checkpoint), kg::printable(file), log_probability));
  fmt::print("{}: {} ({:.2f} %)\n", kg::printable(file),
             kg::printable(class_names_of(loaded.info, arguments)[prediction]),
             100 * std::exp(log_probability));
}

int run_predict(const Arguments& given) {
  mnist::require_file(given.checkpoint);
  const kg::Device device = choose_device(given).device;
  LoadedNetwork loaded = load_network(given, device, stderr);
  const Arguments arguments = with_dataset_of(loaded.info, given);
  check_pictures(loaded.info, arguments, {});
  if (!arguments.save_input.empty()) {
    check_saved_inputs(arguments);
    const std::filesystem::path folder = saved_input(arguments, arguments.files[0]).parent_path();
    if (!folder.empty()) mnist::make_folder(folder);
  }
  const kg::NoGrad no_grad;
  int status = 0;
  for (const std::string& file : arguments.files) try {
      predict(loaded, arguments, file, device);
    } catch (const mnist::NoDigit& reason) {
      fmt::print("{}: {}\n", kg::printable(file), reason.what());
    } catch (const kg::Error& error) {
      std::fflush(stdout);
      mnist::complain(std::string("mnist: ") + error.what());
      status = 1;
    }
  return status;
}

/// The best of the published log; what is only said to have been reached, with a tilde.
std::string published_accuracy(const mnist::Published& published) {
  if (published.best) return fmt::format("{:.2f} %", *published.best);
  if (published.claimed) return fmt::format("~{:.2f} %", *published.claimed);
  return "";
}

int run_list() {
  fmt::print("{:<18} {:>10} {:>10}  {}\n", "id", "parameters", "published", "what it is");
  for (const mnist::Recipe& recipe : mnist::recipes())
    fmt::print("{:<18} {:>10} {:>10}  {}\n", recipe.id,
               mnist::with_thousands(recipe.network().parameter_count()),
               published_accuracy(recipe.published), recipe.description);
  return 0;
}

int run_summary(const Arguments& arguments) {
  const mnist::Recipe& recipe = mnist::find_recipe(arguments.model);
  kg::nn::Sequential network = recipe.network();
  const auto& [channels, height, width] = recipe.input;
  fmt::print("{}", mnist::summary_table(network, {channels, height, width}));
  return 0;
}

int run_receptive_field(const Arguments& arguments) {
  const mnist::Recipe& recipe = mnist::find_recipe(arguments.model);
  fmt::print("{}", mnist::receptive_field_table(recipe.network(), recipe.input.height));
  return 0;
}

/// The options of the run in a folder, with those of the command line over them.
Arguments options_to_resume(const std::string& folder, int argc, char** argv) {
  Arguments arguments;
  const std::vector<std::string> words = mnist::load_state(folder).command;
  try {
    mnist::train_options(arguments)->parse(std::vector(words.rbegin(), words.rend()));
  } catch (const CLI::Error& error) {
    throw kg::Error(folder + ": the command line of the run cannot be read: " + error.what());
  }
  mnist::command_line(arguments)->parse(argc, argv);
  return arguments;
}

int run(int argc, char** argv) {
  Arguments arguments;
  const auto owner = mnist::command_line(arguments);
  CLI::App& app = *owner;
  if (argc < 2) {
    mnist::complain(app.help());
    return mnist::misused;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    mnist::complain(mnist::explain(app, error));
    return mnist::misused;
  }
  if (app.got_subcommand("help")) {
    app.clear();  // otherwise it helps with `help`
    fmt::print("{}", arguments.about.empty() ? app.help()
                                             : app.get_subcommand(arguments.about)->help(app.get_name()));
    return 0;
  }
  if (!arguments.resume.empty()) arguments = options_to_resume(arguments.resume, argc, argv);
  if (app.got_subcommand("train")) return run_train(arguments);
  if (app.got_subcommand("sweep")) return run_sweep(arguments);
  if (app.got_subcommand("eval")) return run_eval(arguments);
  if (app.got_subcommand("predict")) return run_predict(arguments);
  if (app.got_subcommand("list")) return run_list();
  if (app.got_subcommand("summary")) return run_summary(arguments);
  return run_receptive_field(arguments);
}

/// Throws kg::Error if something that was printed has not been written.
void check_standard_output() {
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) throw kg::Error("standard output cannot be written");
}

}  // namespace

int main(int argc, char** argv) try {
  mnist::occupy_standard_streams();
  const int status = run(argc, argv);
  // A signal may have said that nobody is there any more to print for.
  if (status < interrupted_status() || !stop) check_standard_output();
  return status;
} catch (const std::bad_alloc&) {
  mnist::complain("mnist: there is no memory left");
  return mnist::failed;
} catch (const std::exception& error) {
  const bool printed = std::fflush(stdout) == 0 && !std::ferror(stdout);
  mnist::complain(std::string("mnist: ") + (printed ? error.what() : "standard output cannot be written"));
  return dynamic_cast<const mnist::UsageError*>(&error) ? mnist::misused : mnist::failed;
}
