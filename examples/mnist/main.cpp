#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdlib>

#include "kernelgrad/kernelgrad.h"
#include "png.h"
#include "progress.h"
#include "summary.h"
#include "trainer.h"

namespace {

std::atomic<bool> stop = false;

void request_stop(int signal) {
  stop = true;
  std::signal(signal, SIG_DFL);  // a second one ends the program at once
}

/// The options of every command, as they were given.
struct Arguments {
  std::string model = "s7_final", device = "auto", dataset = "mnist";
  std::string data, out;
  std::optional<int> epochs, batch_size, threads;
  std::optional<double> learning_rate;
  std::uint64_t seed = 1;
  bool quiet = false, no_graph = false;
  std::string kernels;
  bool allow_tf32 = false, nondeterministic = false;
  std::string checkpoint;
  std::vector<std::string> files;
};

mnist::DatasetName dataset_name(const Arguments& arguments) {
  return arguments.dataset == "mnist" ? mnist::DatasetName::mnist : mnist::DatasetName::fashion_mnist;
}

std::filesystem::path data_directory(const Arguments& arguments) {
  if (!arguments.data.empty()) return arguments.data;
  if (const char* from_environment = std::getenv("MNIST_DIR"); from_environment && *from_environment)
    return from_environment;
  return "data/" + arguments.dataset;
}

mnist::Dataset load_data(const Arguments& arguments) {
  const std::filesystem::path directory = data_directory(arguments);
  if (!std::filesystem::is_directory(directory))
    throw kg::Error(
        directory.string() +
        ": no such folder, expected the four IDX files in it; --data DIR or MNIST_DIR names another, " +
        "scripts/get-mnist fetches MNIST into data/mnist");
  return mnist::load_dataset(directory);
}

/// Sets which implementation of the operations runs on the device, as far as the arguments say it.
void choose_kernels(const Arguments& arguments, kg::Device device) {
  const kg::CudnnOptions options{.allow_tf32 = arguments.allow_tf32,
                                 .deterministic = !arguments.nondeterministic};
  const bool says_something = !arguments.kernels.empty() || options.allow_tf32 || !options.deterministic;
  if (says_something && !device.is_cuda())
    throw kg::Error(
        "--kernels, --allow-tf32 and --nondeterministic are for --device cuda, and the device is " +
        device.name());
  if (!arguments.kernels.empty()) kg::set_kernel_policy(arguments.kernels);
  kg::set_cudnn_options(options);
}

/// Takes the device and says which and why.
kg::Device choose_device(const Arguments& arguments) {
  if (arguments.threads) kg::set_num_threads(*arguments.threads);
  const kg::Device device = kg::Device::parse(arguments.device);
  choose_kernels(arguments, device);
  std::string more;
  if (device.is_cuda())
    more = " (" + kg::cuda_device_name() + ")";
  else if (arguments.device == "auto")
    more = " (auto: " + kg::cuda_unavailable_reason() + ")";
  fmt::print("device: {}{}, {} CPU thread{}\n", device.name(), more, kg::num_threads(),
             kg::num_threads() == 1 ? "" : "s");
  return device;
}

int run_train(const Arguments& arguments) {
  const mnist::Recipe& recipe = mnist::find_recipe(arguments.model);
  const mnist::Dataset data = load_data(arguments);
  const kg::Device device = choose_device(arguments);
  const std::filesystem::path out =
      arguments.out.empty() ? fmt::format("runs/{}-seed{}", recipe.id, arguments.seed) : arguments.out;
  fmt::print("model: {}, {} parameters; {} training images, {} test images; results in {}\n\n", recipe.id,
             mnist::with_thousands(recipe.network().parameter_count()),
             mnist::with_thousands(data.train.count), mnist::with_thousands(data.test.count), out.string());
  std::fflush(stdout);
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  const mnist::TrainResult result = mnist::train(recipe, data,
                                                 {.epochs = arguments.epochs,
                                                  .batch_size = arguments.batch_size,
                                                  .learning_rate = arguments.learning_rate,
                                                  .seed = arguments.seed,
                                                  .device = device,
                                                  .dataset = dataset_name(arguments),
                                                  .out = out,
                                                  .quiet = arguments.quiet,
                                                  .graph = !arguments.no_graph},
                                                 stop);
  if (result.interrupted) {
    fmt::print(stderr, "interrupted after {} whole epochs; their results are in {}\n", result.epochs.size(),
               out.string());
    return 130;
  }
  fmt::print("{}\n", result.verdict.line);
  if (!kg::backend_choices().empty()) fmt::print("\nkernels:\n{}", kg::backend_choices_table());
  return 0;
}

/// A network with the weights of a checkpoint, which names its model.
kg::nn::Sequential load_network(const Arguments& arguments, kg::Device device) {
  const kg::Checkpoint checkpoint = kg::load_checkpoint(arguments.checkpoint);
  const auto model = checkpoint.metadata.find("model");
  if (model == checkpoint.metadata.end())
    throw kg::Error(arguments.checkpoint +
                    ": its metadata names no model, as a checkpoint of `mnist train` does");
  kg::nn::Sequential network;
  try {
    network = mnist::find_recipe(model->second).network();
    network.load_state_dict(checkpoint.tensors);
  } catch (const kg::Error& error) {
    throw kg::Error(arguments.checkpoint + ": is for model " + model->second + ": " + error.what());
  }
  network.to(device);
  network.eval();
  return network;
}

int run_eval(const Arguments& arguments) {
  const kg::Device device = choose_device(arguments);
  kg::nn::Sequential network = load_network(arguments, device);
  const mnist::Dataset data = load_data(arguments);
  const mnist::Evaluation evaluation = mnist::evaluate(network, data.test, device);
  fmt::print("{}", mnist::test_line(evaluation.loss, evaluation.correct, data.test.count));
  if (arguments.out.empty()) return 0;
  std::filesystem::create_directories(arguments.out);
  mnist::write_test_figures(arguments.out, data.test, evaluation, dataset_name(arguments));
  fmt::print("figures in {}\n", arguments.out);
  return 0;
}

int run_predict(const Arguments& arguments) {
  const kg::Device device = kg::Device::parse(arguments.device);
  choose_kernels(arguments, device);
  kg::nn::Sequential network = load_network(arguments, device);
  const kg::NoGrad no_grad;
  const mnist::Normalize normalize(mnist::pixel_mean, mnist::pixel_std);
  const auto& names = mnist::class_names(dataset_name(arguments));
  for (const std::string& file : arguments.files) {
    const mnist::GrayImage digit = mnist::read_digit(file);
    kg::Tensor image = kg::Tensor::empty({1, 1, digit.height, digit.width});
    normalize(digit.pixels, image.data<float>());
    const kg::Tensor output = network(image.to(device));
    const std::size_t prediction = static_cast<std::size_t>(kg::argmax(output).item());
    fmt::print("{}: {} ({:.2f} %)\n", file, names[prediction],
               100 * std::exp(output.to_vector<float>()[prediction]));
  }
  return 0;
}

int run_list() {
  for (const mnist::Recipe& recipe : mnist::recipes())
    fmt::print("{:<16}{}\n", recipe.id, recipe.description);
  return 0;
}

int run_summary(const Arguments& arguments) {
  kg::nn::Sequential network = mnist::find_recipe(arguments.model).network();
  fmt::print("{}", mnist::summary_table(network, {1, 28, 28}));
  return 0;
}

void add_data_options(CLI::App& command, Arguments& arguments) {
  command
      .add_option("--data", arguments.data,
                  "folder with the four IDX files (default: $MNIST_DIR, else data/DATASET)")
      ->type_name("DIR");
  command.add_option("--dataset", arguments.dataset, "what the files are: mnist or fashion-mnist")
      ->check(CLI::IsMember({"mnist", "fashion-mnist"}))
      ->capture_default_str();
}

void add_device_options(CLI::App& command, Arguments& arguments) {
  command.add_option("--device", arguments.device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command
      .add_option("--threads", arguments.threads,
                  "CPU threads (default: every core); results do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->type_name("N");
  command
      .add_option("--kernels", arguments.kernels,
                  "on cuda: native, cudnn or fastest, for all operations or as OPERATION=POLICY,... "
                  "(default: $KERNELGRAD_KERNELS, else native)")
      ->type_name("POLICY");
  command.add_flag("--allow-tf32", arguments.allow_tf32,
                   "on cuda: cuDNN and cuBLAS may round factors to TF32");
  command.add_flag("--nondeterministic", arguments.nondeterministic,
                   "on cuda: cuDNN may use algorithms that give other last bits in every run");
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments arguments;
  CLI::App app("Trains and applies small networks for MNIST.", "mnist");
  app.require_subcommand(1);

  CLI::App& train = *app.add_subcommand("train", "Train a model and write checkpoint, metrics and figures");
  train.add_option("--model", arguments.model, "which recipe (see `mnist list`)")
      ->type_name("ID")
      ->capture_default_str();
  train.add_option("--epochs", arguments.epochs, "default: the recipe's")
      ->check(CLI::Range(1, 1'000'000))
      ->type_name("N");
  train.add_option("--batch-size", arguments.batch_size, "default: the recipe's")
      ->check(CLI::Range(2, 60'000))
      ->type_name("N");
  train
      .add_option("--lr", arguments.learning_rate, "learning rate of the first epoch (default: the recipe's)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("RATE");
  train.add_option("--seed", arguments.seed, "the same seed gives the same checkpoint, byte for byte")
      ->check([](const std::string& text) {
        return text.starts_with('-') ? text + " given, expected a whole number from 0" : std::string();
      })
      ->type_name("S")
      ->capture_default_str();
  train.add_option("--out", arguments.out, "folder for the results (default: runs/ID-seedS)")
      ->type_name("DIR");
  train.add_flag("--quiet", arguments.quiet, "no progress, only the verdict");
  train.add_flag("--no-graph", arguments.no_graph,
                 "on cuda: launch each kernel by itself instead of replaying a recorded step; same results");
  add_data_options(train, arguments);
  add_device_options(train, arguments);

  CLI::App& eval = *app.add_subcommand("eval", "Test a checkpoint on the test images");
  eval.add_option("CHECKPOINT", arguments.checkpoint, "model.safetensors of a training run")->required();
  eval.add_option("--out", arguments.out, "folder for figures (default: none are drawn)")->type_name("DIR");
  add_data_options(eval, arguments);
  add_device_options(eval, arguments);

  CLI::App& predict = *app.add_subcommand("predict", "Say which digit each PNG shows");
  predict.add_option("CHECKPOINT", arguments.checkpoint, "model.safetensors of a training run")->required();
  predict
      .add_option("FILE.png", arguments.files, "pictures of one digit each, light on dark or dark on light")
      ->required();
  predict.add_option("--dataset", arguments.dataset, "what the model was trained on: mnist or fashion-mnist")
      ->check(CLI::IsMember({"mnist", "fashion-mnist"}))
      ->capture_default_str();
  add_device_options(predict, arguments);

  CLI::App& list = *app.add_subcommand("list", "List the models");
  CLI::App& summary = *app.add_subcommand("summary", "Print a model's layers");
  summary.add_option("ID", arguments.model, "which model (see `mnist list`)")->required();

  CLI11_PARSE(app, argc, argv);
  if (train.parsed()) return run_train(arguments);
  if (eval.parsed()) return run_eval(arguments);
  if (predict.parsed()) return run_predict(arguments);
  if (list.parsed()) return run_list();
  if (summary.parsed()) return run_summary(arguments);
  return 0;
} catch (const std::exception& error) {
  std::fflush(stdout);
  fmt::print(stderr, "mnist: {}\n", error.what());
  return 1;
}
