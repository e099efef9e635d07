// SPDX-License-Identifier: MIT
#include "data/loader.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/device.h"
#include "models/recipe.h"
#include "thread_count.h"

namespace mnist {
namespace {

constexpr int height = 5, width = 3, pixels = height * width;
constexpr int all = 101;  // no batch size below divides it

/// Noise images; the label and the first two pixels name the image.
Split numbered_images(int count) {
  Split split{.images = Bytes(static_cast<std::size_t>(count) * pixels),
              .labels = {},
              .count = count,
              .height = height,
              .width = width};
  kg::RandomStream random(1, kg::RandomPurpose::user);
  for (std::uint8_t& pixel : split.images) pixel = static_cast<std::uint8_t>(random.below(256));
  for (int i = 0; i < count; ++i) {
    split.images[static_cast<std::size_t>(i) * pixels] = static_cast<std::uint8_t>(i % 256);
    split.images[static_cast<std::size_t>(i) * pixels + 1] = static_cast<std::uint8_t>(i / 256);
    split.labels.push_back(static_cast<std::uint8_t>(i % 10));
  }
  return split;
}

struct Epoch {
  std::vector<float> images;
  std::vector<std::int64_t> labels;
  bool operator==(const Epoch&) const = default;
};

Epoch read_epoch(ImageLoader& loader, int epoch) {
  loader.start_epoch(epoch);
  Epoch result;
  for (int i = 0; i < loader.batches(); ++i) {
    const kg::training::Batch batch = loader.batch(i);
    for (const float value : batch.inputs.to_vector<float>()) result.images.push_back(value);
    for (const std::int64_t label : batch.labels.to_vector<std::int64_t>()) result.labels.push_back(label);
  }
  return result;
}

Epoch read_epoch(const Split& split, const ImageLoaderOptions& options, int epoch) {
  ImageLoader loader(split, options);
  return read_epoch(loader, epoch);
}

/// The images' numbers, read from their pixels.
std::vector<int> order_of(const Epoch& epoch) {
  const auto pixel = [&](std::size_t i) {
    return static_cast<int>(std::lround((epoch.images[i] * pixel_std + pixel_mean) * 255));
  };
  std::vector<int> order;
  for (std::size_t i = 0; i < epoch.labels.size(); ++i)
    order.push_back(pixel(i * pixels) + 256 * pixel(i * pixels + 1));
  return order;
}

std::vector<int> numbers(int count) {
  std::vector<int> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

Augmentation strong() {
  return Augmentation({RandomAffine{.degrees = 90, .translate = {0.4, 0.4}, .scale = {0.5, 2}},
                       ColorJitter{.brightness = 0.5, .contrast = 0.5}});
}

TEST_CASE("a loader gives every sample exactly once per epoch, with its label", "[loader]") {
  for (const int count : {1, 2, 101, 300}) {
    const Split split = numbered_images(count);
    for (const int batch_size : {1, 7, 128, 1000})
      for (const int epoch : {1, 2, 15}) {
        INFO(count << " images, batch size " << batch_size << ", epoch " << epoch);
        const Epoch read = read_epoch(split, {.batch_size = batch_size, .seed = 3, .shuffle = true}, epoch);
        std::vector<int> order = order_of(read);
        for (std::size_t i = 0; i < order.size(); ++i) CHECK(read.labels[i] == order[i] % 10);
        std::sort(order.begin(), order.end());
        CHECK(order == numbers(count));
      }
  }
}

TEST_CASE("a loader's last batch is what is left", "[loader]") {
  const Split split = numbered_images(all);
  for (const int batch_size : {1, 2, 33, 100, 101, 102, 60000}) {
    INFO("batch size " << batch_size);
    ImageLoader loader(split, {.batch_size = batch_size, .shuffle = true});
    loader.start_epoch(1);
    REQUIRE(loader.batches() == (all - 1) / batch_size + 1);
    for (int i = 0; i < loader.batches(); ++i) {
      const std::int64_t expected = std::min(batch_size, all - i * batch_size);
      const kg::training::Batch batch = loader.batch(i);
      CHECK(batch.inputs.shape() == kg::Shape{expected, 1, height, width});
      CHECK(batch.labels.shape() == kg::Shape{expected});
    }
  }
  CHECK(contains(error_of([&] { ImageLoader(split, {.batch_size = 0}); }),
                 "batch size 0, expected at least 1"));
  CHECK(contains(error_of([&] { ImageLoader(split, {.batch_size = -3}); }), "batch size -3"));
}

TEST_CASE("a loader's images have the size that the augmentation gives them", "[loader]") {
  const Split split = numbered_images(3);
  const RandomApply cropped{.transforms = {CenterCrop{.size = 2}}};
  ImageLoader loader(split,
                     {.batch_size = 2, .augmentation = Augmentation({cropped, Resize{.size = {7, 4}}})});
  loader.start_epoch(1);
  CHECK(loader.image_size() == ImageSize{7, 4});
  CHECK(loader.batch(1).inputs.shape() == kg::Shape{1, 1, 7, 4});
  CHECK(contains(error_of([&] { ImageLoader(split, {.augmentation = Augmentation({cropped})}); }),
                 "a 5x3 image becomes 2x2 or 5x3"));
}

TEST_CASE("a loader's order depends on seed and epoch and on nothing else", "[loader]") {
  const Split split = numbered_images(all);
  const std::vector<int> order = order_of(read_epoch(split, {.seed = 1, .shuffle = true}, 3));
  CHECK(order != numbers(all));
  for (const int batch_size : {1, 10, 128})
    for (const bool augmented : {false, true}) {
      ImageLoader loader(split, {.batch_size = batch_size,
                                 .seed = 1,
                                 .shuffle = true,
                                 .augmentation = augmented ? strong() : Augmentation()});
      for (const int earlier : {1, 2, 7}) read_epoch(loader, earlier);
      const Epoch read = read_epoch(loader, 3);
      // Augmented images no longer name themselves; their labels do, as far as they go.
      for (std::size_t i = 0; i < order.size(); ++i) CHECK(read.labels[i] == order[i] % 10);
      if (!augmented) CHECK(order_of(read) == order);
    }
  for (const int epoch : {1, 2, 4})
    CHECK(order_of(read_epoch(split, {.seed = 1, .shuffle = true}, epoch)) != order);
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{2}, (std::uint64_t{1} << 32) + 1})
    CHECK(order_of(read_epoch(split, {.seed = seed, .shuffle = true}, 3)) != order);
}

TEST_CASE("a shuffled sample is equally often at every place", "[loader]") {
  constexpr int count = 7, epochs = 2100;
  const Split split = numbered_images(count);
  ImageLoader loader(split, {.batch_size = count, .seed = 1, .shuffle = true});
  int often[count][count] = {};
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    const std::vector<int> order = order_of(read_epoch(loader, epoch));
    for (std::size_t place = 0; place < count; ++place) ++often[order[place]][place];
  }
  // 300 expected, with a standard deviation of 16.
  for (const auto& places : often)
    for (const int times : places) CHECK(std::abs(times - epochs / count) < 5 * 16);
}

TEST_CASE("a loader without shuffling keeps the order and the pixels", "[loader]") {
  const Split split = numbered_images(all);
  std::vector<float> expected(split.images.size());
  Normalize(pixel_mean, pixel_std)(split.images, expected.data());
  ImageLoader loader(split, {.batch_size = 33, .seed = 5});
  for (const int epoch : {1, 2, 1}) {
    const Epoch read = read_epoch(loader, epoch);
    CHECK(read.images == expected);
    CHECK(order_of(read) == numbers(all));
  }
  // As evaluate() uses it, which starts no epoch.
  const kg::training::Batch batch = ImageLoader(split, {.batch_size = all}).batch(0);
  CHECK(batch.inputs.to_vector<float>() == expected);
}

TEST_CASE("a sample's pixels depend on seed, epoch and number, not on batch size and threads", "[loader]") {
  const Split split = numbered_images(all);
  for (const int epoch : {1, 2}) {
    const std::vector<int> order = order_of(read_epoch(split, {.seed = 9, .shuffle = true}, epoch));
    std::vector<float> expected;
    for (const int sample : order) {
      Image image, scratch;
      image.assign(split.image(sample), height, width);
      kg::RandomStream random(9, kg::RandomPurpose::augmentation, static_cast<std::uint32_t>(epoch),
                              static_cast<std::uint32_t>(sample));
      strong().apply(image, scratch, random);
      std::vector<float> values(pixels);
      Normalize(pixel_mean, pixel_std)(image.pixels, values.data());
      expected.insert(expected.end(), values.begin(), values.end());
    }
    for (const int threads : {1, 2, 3, 8})
      for (const int batch_size : {1, 13, 64, 200}) {
        INFO(threads << " threads, batch size " << batch_size << ", epoch " << epoch);
        const kg::testing::ThreadCount scope(threads);
        const ImageLoaderOptions options{
            .batch_size = batch_size, .seed = 9, .shuffle = true, .augmentation = strong()};
        CHECK(read_epoch(split, options, epoch).images == expected);
      }
  }
}

}  // namespace
}  // namespace mnist
