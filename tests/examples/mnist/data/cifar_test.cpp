// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>

#include "catch.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "idx_fixture.h"
#include "kernelgrad/kernelgrad.h"
#include "train/checkpoint_info.h"
#include "train/trainer.h"

namespace mnist {
namespace {

constexpr std::size_t values = 3 * 32 * 32;

/// A file of CIFAR-10's: for each image its label, then red, green and blue. A class has a colour.
Bytes batch_of(const std::vector<int>& labels) {
  Bytes bytes;
  for (const int label : labels) {
    bytes.push_back(static_cast<std::uint8_t>(label));
    for (std::size_t i = 0; i < values; ++i)
      bytes.push_back(
          static_cast<std::uint8_t>(20 * label + 10 * static_cast<int>(i / 1024) + static_cast<int>(i % 7)));
  }
  return bytes;
}

Dataset load(const std::filesystem::path& folder) {
  return load_dataset(folder, {.name = DatasetName::cifar10});
}

/// Five batches and a test batch in a folder as the archive has it, one of them gzipped.
void write_files(const std::filesystem::path& folder) {
  const std::filesystem::path inside = folder / "cifar-10-batches-bin";
  std::filesystem::create_directories(inside);
  for (int i = 1; i <= 4; ++i)
    write_plain(inside / ("data_batch_" + std::to_string(i) + ".bin"), batch_of({i, 9, i, 0}));
  write_gzip(inside / "data_batch_5.bin.gz", batch_of({5, 5}));
  write_plain(inside / "test_batch.bin", batch_of({7, 8, 9}));
  write_plain(inside / "batches.meta.txt", bytes_of("airplane"));
}

TEST_CASE("CIFAR-10 is read from its binary files", "[cifar]") {
  const TemporaryDirectory directory;
  write_files(directory.path());
  for (const std::filesystem::path& place : {directory.path(), directory.path() / "cifar-10-batches-bin"}) {
    const Dataset data = load(place);
    CHECK(data.train.count == 18);
    CHECK(data.train.labels == Bytes{1, 9, 1, 0, 2, 9, 2, 0, 3, 9, 3, 0, 4, 9, 4, 0, 5, 5});
    CHECK(data.test.labels == Bytes{7, 8, 9});
    CHECK(data.test.channels == 3);
    CHECK(data.test.height == 32);
    CHECK(data.test.width == 32);
    const Bytes expected = batch_of({8});
    CHECK(std::equal(expected.begin() + 1, expected.end(), data.test.image(1).begin(),
                     data.test.image(1).end()));
    CHECK(data.train.normalization.size() == 3);
    CHECK(data.train.normalization[2].mean == 0.4465f);
  }
  CHECK(class_names(DatasetName::cifar10)[6] == "frog");
  const Dataset validated = with_validation(load(directory.path()), 2);
  CHECK(validated.test.labels == Bytes{5, 5});
  CHECK(validated.test.channels == 3);
  CHECK(validated.test.normalization[0].std == 0.2470f);
}

TEST_CASE("files that are not CIFAR-10's are refused", "[cifar]") {
  const TemporaryDirectory directory;
  const std::filesystem::path folder = directory.path();
  const auto error = [&] { return error_of([&] { load(folder); }); };
  CHECK(contains(error(), "no training images, expected files data_batch_*.bin there"));
  write_plain(folder / "data_batch_1.bin", batch_of({1, 2}));
  CHECK(contains(error(), "no test images, expected files test_batch*.bin there"));
  Bytes cut = batch_of({1, 2});
  cut.resize(cut.size() - 1);
  write_plain(folder / "test_batch.bin", cut);
  CHECK(contains(error(), "test_batch.bin: ends within an image: the last has 3072 bytes, expected 3073"));
  write_plain(folder / "test_batch.bin", batch_of({1, 10}));
  CHECK(contains(error(), "test_batch.bin: label 1 is 10, expected 0 to 9"));
  write_plain(folder / "test_batch.bin", {});
  CHECK(contains(error(), "no test images"));
  CHECK(contains(error_of([&] { load_dataset(folder, {.transposed = true, .name = DatasetName::cifar10}); }),
                 "cifar10 is never transposed"));
}

TEST_CASE("a loader does the same to every channel, and normalises each by its own numbers", "[cifar]") {
  const TemporaryDirectory directory;
  write_files(directory.path());
  const Split colour = load(directory.path()).train;
  const Augmentation turned(
      {RandomAffine{.degrees = 30, .translate = {0.2, 0.2}, .fill = 9}, ColorJitter{.brightness = 0.3}});
  const ImageLoaderOptions options{.batch_size = 5, .seed = 3, .shuffle = true, .augmentation = turned};
  ImageLoader loader(colour, options);
  loader.start_epoch(2);
  for (std::size_t channel = 0; channel < 3; ++channel) {
    // The channel by itself, as a grey data set.
    Split grey{.images = {}, .labels = colour.labels, .count = colour.count, .height = 32, .width = 32};
    grey.normalization = {colour.normalization[channel]};
    for (int i = 0; i < colour.count; ++i) {
      const auto plane = colour.image(i).subspan(channel * 1024, 1024);
      grey.images.insert(grey.images.end(), plane.begin(), plane.end());
    }
    ImageLoader expected(grey, options);
    expected.start_epoch(2);
    for (int index = 0; index < loader.batches(); ++index) {
      const auto whole = loader.batch(index).inputs.to_vector<float>(),
                 alone = expected.batch(index).inputs.to_vector<float>();
      REQUIRE(whole.size() == 3 * alone.size());
      for (std::size_t i = 0; i < alone.size() / 1024; ++i)
        CHECK(std::equal(alone.begin() + static_cast<std::ptrdiff_t>(i * 1024),
                         alone.begin() + static_cast<std::ptrdiff_t>((i + 1) * 1024),
                         whole.begin() + static_cast<std::ptrdiff_t>((3 * i + channel) * 1024)));
    }
  }
  CHECK(contains(
      error_of([&] { ImageLoader(colour, {.augmentation = Augmentation({ColorJitter{.contrast = 0.1}})}); }),
      "ColorJitter's contrast, saturation and hue are for grey images, and these have 3 channels"));
  CHECK(contains(error_of([&] { ImageLoader(colour, {.normalization = {{}}}); }),
                 "mean and std are given for 1 channels, expected 3"));
}

kg::nn::Sequential colour_network() {
  return {kg::nn::Conv2d(3, 4, 3, {.stride = 4, .bias = false}), kg::nn::ReLU(), kg::nn::Flatten(),
          kg::nn::Linear(4 * 8 * 8, 10), kg::nn::LogSoftmax()};
}

TEST_CASE("a network learns colour images, and leaves a report on them", "[cifar]") {
  const TemporaryDirectory directory;
  write_files(directory.path());
  const Dataset data = load(directory.path());
  Recipe recipe{.id = "colour",
                .description = "",
                .network = colour_network,
                .augmentation = [] { return Augmentation({RandomAffine{.degrees = 10}}); },
                .sgd = {.learning_rate = 0.01, .momentum = 0.9},
                .input = {.channels = 3, .height = 32, .width = 32},
                .batch_size = 6,
                .epochs = 8};
  const TrainOptions options{.dataset = DatasetName::cifar10, .out = directory.path() / "run", .quiet = true};
  const std::atomic<bool> stop = false;
  const TrainResult result = train(recipe, data, options, stop);
  CHECK(result.epochs.back().train_loss < result.epochs.front().train_loss);
  for (const char* file : {"augmented.png", "predictions.png", "misclassified.png", "confusion.png"})
    CHECK(std::filesystem::exists(options.out / file));
  const kg::Checkpoint checkpoint = kg::load_checkpoint(options.out / "model.safetensors");
  CHECK(checkpoint.metadata.at("image_size") == "3x32x32");
  CHECK(checkpoint.metadata.at("pixel_mean") == "0.4914,0.4822,0.4465");
  const CheckpointInfo info = info_of(checkpoint.metadata);
  CHECK(info.channels == 3);
  CHECK(info.normalization.at(1).std == 0.2435f);
  CHECK(info.class_names.at(9) == "truck");
  recipe.input = {};
  CHECK(error_of([&] { train(recipe, data, options, stop); }) ==
        "train: colour takes images of 1x28x28, and these are 3x32x32");
}

}  // namespace
}  // namespace mnist
