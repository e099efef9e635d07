// SPDX-License-Identifier: MIT
#include "data/resident_loader.h"

#include <vector>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/device.h"
#include "support.h"

namespace mnist {
namespace {

constexpr kg::Device cuda = kg::Device::cuda();

Split noise(int count, int height, int width) {
  Split split{.images = Bytes(static_cast<std::size_t>(count * height * width)),
              .labels = {},
              .count = count,
              .height = height,
              .width = width};
  kg::RandomStream random(1, kg::RandomPurpose::user);
  for (std::uint8_t& pixel : split.images) pixel = static_cast<std::uint8_t>(random.below(256));
  for (int i = 0; i < count; ++i) split.labels.push_back(static_cast<std::uint8_t>(random.below(10)));
  return split;
}

/// A number in device memory.
kg::Tensor index_on_cuda(std::int64_t index) { return kg::Tensor::from(std::vector{index}, {}, cuda); }

/// Checks every batch of some epochs against Loader's.
void check_same_batches(const Split& split, const ImageLoaderOptions& options, int line = __builtin_LINE()) {
  ImageLoader expected(split, options);
  ResidentLoader actual(split, options);
  for (const int epoch : {1, 2}) {
    expected.start_epoch(epoch);
    actual.start_epoch(epoch);
    REQUIRE(actual.batches() == expected.batches());
    for (int i = 0; i < expected.batches(); ++i) {
      INFO("line " << line << ": " << split.height << "x" << split.width << " pixels, batches of "
                   << options.batch_size << ", epoch " << epoch << ", batch " << i);
      const kg::training::Batch batch = expected.batch(i);
      REQUIRE(actual.size_of(i) == batch.labels.numel());
      const kg::Tensor index = index_on_cuda(i);
      const kg::training::Batch resident = actual.batch(index.device_data<std::int64_t>(), actual.size_of(i));
      CHECK(kg::testing::same_bits(resident.inputs, batch.inputs));
      CHECK(kg::testing::same_bits(resident.labels, batch.labels));
    }
  }
}

const RandomAffine turned{.degrees = 20, .translate = {0.1, 0.1}, .scale = {0.9, 1.1}, .fill = 9};
const RandomAffine sheared{.degrees = 180, .scale = {0.3, 3}, .shear_x = 40, .shear_y = 40};
/// Neither turned nor sheared: in doubles.
const RandomAffine shifted{.translate = {0.3, 0.5}, .scale = {0.7, 1.3}, .fill = 200};
/// So far out that fixed point does not reach: in doubles too.
const RandomAffine vanishing{.degrees = 30, .translate = {0.5, 0.5}, .scale = {2e-4, 4e-4}, .fill = 77};
const RandomAffine smooth{.degrees = 180,
                          .translate = {0.4, 0.4},
                          .scale = {0.3, 3},
                          .shear_x = 40,
                          .interpolation = Interpolation::bilinear,
                          .fill = 5};
const ColorJitter jittered{.brightness = 0.4, .contrast = 0.7, .saturation = 0.1, .hue = 0.1};
/// Factors beyond what float can hold: infinity times 0 is not a number.
const ColorJitter extreme{.brightness = 1e300, .contrast = 1e300};

const RandomRotation rotated{.degrees = 40, .fill = 1};
const RandomResizedCrop cropped{.size = {28, 20}, .scale = {0.2, 1}};
const RandomApply perhaps{.p = 0.5, .transforms = {CenterCrop{.size = {9, 40}}, jittered}};

TEST_CASE("batches of colour images made on cuda have the pixels of those made on the CPU", "[resident]") {
  if (!kg::cuda_is_available()) return;
  Split split{.images = Bytes(5 * 3 * 6 * 9),
              .labels = {3, 1, 4, 1, 5},
              .count = 5,
              .channels = 3,
              .height = 6,
              .width = 9,
              .normalization = {{0.5f, 0.25f}, {0.4f, 0.2f}, {0.3f, 0.1f}}};
  kg::RandomStream random(7, kg::RandomPurpose::user);
  for (std::uint8_t& value : split.images) value = static_cast<std::uint8_t>(random.below(256));
  for (const std::vector<Transform>& transforms : {std::vector<Transform>{},
                                                   {turned, ColorJitter{.brightness = 0.4}},
                                                   {rotated, Resize{.size = {4, 11}}}})
    check_same_batches(
        split, {.batch_size = 3, .seed = 2, .shuffle = true, .augmentation = Augmentation(transforms)});
  check_same_batches(split,
                     {.batch_size = 2,
                      .seed = 2,
                      .augmentation = Augmentation({}, {.after_normalize = RandomRotation{.degrees = 40}})});
}

TEST_CASE("batches made on cuda have the pixels of those made on the CPU", "[resident]") {
  if (!kg::cuda_is_available()) return;
  const std::vector<std::vector<Transform>> augmentations = {
      {},
      {turned},
      {sheared},
      {shifted},
      {vanishing},
      {smooth},
      {smooth, jittered, smooth, sheared},
      {jittered},
      {extreme},
      {turned, jittered},
      {jittered, turned},
      {jittered, jittered, shifted, jittered},
      {turned, shifted, sheared},
      {shifted, jittered, shifted},
      {shifted, turned, turned, shifted, shifted},
      {rotated},
      {cropped},
      {cropped, rotated},
      {Resize{.size = {7, 40}}},
      {Resize{.size = {40, 7}}},
      {Resize{.size = 3}, Resize{.size = 33}, Resize{.size = {8, 31}}},
      {CenterCrop{.size = 2}},
      {CenterCrop{.size = 40}},
      {CenterCrop{.size = {40, 2}}, jittered, CenterCrop{.size = {2, 40}}},
      {perhaps, Resize{.size = 28}},
      {perhaps, Resize{.size = 28}, jittered, cropped, shifted, Resize{.size = {12, 13}}, rotated},
      {cropped, CenterCrop{.size = {30, 10}}, cropped, jittered},
  };
  for (const auto& transforms : augmentations) {
    INFO("augmentation " << &transforms - augmentations.data());
    for (const AugmentationOptions& after :
         {AugmentationOptions{},
          AugmentationOptions{.after_normalize = RandomRotation{.degrees = 60, .fill = 3}}}) {
      INFO("turned after normalisation: " << after.after_normalize.has_value());
      const ImageLoaderOptions options{
          .batch_size = 5, .seed = 3, .shuffle = true, .augmentation = Augmentation(transforms, after)};
      check_same_batches(noise(7, 28, 28), options);
      check_same_batches(noise(3, 5, 3), options);
      check_same_batches(noise(3, 17, 31), options);
    }
  }
}

TEST_CASE("batches made on cuda have the images of those made on the CPU, whatever their size",
          "[resident]") {
  if (!kg::cuda_is_available()) return;
  const Split split = noise(33, 4, 6);
  for (const int batch_size : {1, 2, 32, 33, 34, 1000})
    for (const bool shuffle : {false, true})
      check_same_batches(split, {.batch_size = batch_size,
                                 .seed = 5,
                                 .shuffle = shuffle,
                                 .augmentation = Augmentation({turned, jittered})});
}

TEST_CASE("images of any shape are augmented on cuda as on the CPU", "[resident]") {
  if (!kg::cuda_is_available()) return;
  const Augmentation augmentation({shifted, turned, jittered});
  const ImageLoaderOptions options{.batch_size = 2, .seed = 5, .augmentation = augmentation};
  check_same_batches(noise(2, 1, 1), options);
  check_same_batches(noise(2, 1, 255), options);
  // A block of 256 threads has a thread for each row or pixel, or some twice.
  check_same_batches(noise(2, 256, 1), options);
  check_same_batches(noise(2, 257, 3), options);
  // The largest: more shared memory than a kernel has without asking.
  check_same_batches(noise(1, 96, 256), options);
}

TEST_CASE("what comes from the very edge of an image comes from outside on cuda too", "[resident]") {
  if (!kg::cuda_is_available()) return;
  // At half the scale the pixels of a 6x6 image come from positions -4, -2, 0, 2, 4 and 6: 0 is inside, 6
  // not.
  const RandomAffine precise{.scale = {0.5, 0.5}, .fill = 99};
  const RandomAffine fixed{.degrees = {90, 90}, .scale = {0.5, 0.5}, .fill = 99};
  RandomAffine smooth = fixed;
  smooth.interpolation = Interpolation::bilinear;
  for (const RandomAffine& affine : {precise, fixed, smooth})
    check_same_batches(noise(2, 6, 6), {.batch_size = 2, .augmentation = Augmentation({affine})});
}

TEST_CASE("a resident loader refuses what its kernel cannot hold", "[resident]") {
  const Split large = noise(1, 97, 256);
  const std::string message = error_of([&] { ResidentLoader(large, {}); });
  if (kg::cuda_is_available())
    CHECK(contains(message, "97x256 has 24832 pixels at a time, expected at most 24576"));
  else
    CHECK(contains(message, "cuda is not available: " + kg::cuda_unavailable_reason()));
  if (!kg::cuda_is_available()) return;
  const auto resized = [](const ImageSize& size) {
    return ImageLoaderOptions{.batch_size = 1, .augmentation = Augmentation({Resize{.size = size}})};
  };
  // A weight for each of three columns, and where they begin: 896 columns are the limit, less what the row
  // takes.
  check_same_batches(noise(1, 1, 200), resized({1, 895}));
  CHECK(contains(error_of([&] {
                   ResidentLoader(noise(1, 1, 200), resized({1, 896}));
                 }),
                 "resizing an image of 1x200 takes 3586 integers, expected at most 3584"));
  // Columns first: 90 rows of 273.
  CHECK(contains(error_of([&] {
                   ResidentLoader(noise(1, 90, 2), resized({2, 274}));
                 }),
                 "an image of 90x2 has 24660 pixels at a time"));
}

}  // namespace
}  // namespace mnist
