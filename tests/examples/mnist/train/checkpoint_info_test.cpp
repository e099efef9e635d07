// SPDX-License-Identifier: MIT
#include "train/checkpoint_info.h"

#include <limits>

#include "catch.h"
#include "digits.h"
#include "idx_fixture.h"

namespace mnist {
namespace {

TEST_CASE("a checkpoint says what it is", "[checkpoint_info]") {
  const Split tested = digits(30, 1);
  const EpochMetrics epoch{.epoch = 4, .test_accuracy = 1.0 / 3};
  const auto metadata = metadata_of({.recipe = find_recipe("s7_final"),
                                     .dataset = DatasetName::fashion_mnist,
                                     .seed = 9,
                                     .tested = tested,
                                     .epoch = epoch});
  CHECK(metadata.at("epoch") == "4");
  CHECK(metadata.at("seed") == "9");
  CHECK(metadata.at("accuracy") == "0.3333333333333333");
  const CheckpointInfo info = info_of(metadata);
  CHECK(info.model == "s7_final");
  CHECK(info.dataset == "fashion-mnist");
  REQUIRE(info.class_names.size() == 10);
  CHECK(info.class_names[0] == "T-shirt/top");
  CHECK(info.class_names[9] == "Ankle boot");
  CHECK(info.normalization.at(0).mean == pixel_mean);
  CHECK(info.normalization.at(0).std == pixel_std);
  CHECK(info.height == 28);
  CHECK(info.width == 28);
  CHECK(info.tested_on == identity_of(tested));
}

TEST_CASE("what a checkpoint does not say is as every recipe has it", "[checkpoint_info]") {
  const CheckpointInfo info = info_of({{"format", "pt"}});
  CHECK_FALSE(info.model);
  CHECK_FALSE(info.dataset);
  CHECK(info.class_names.empty());
  CHECK(info.normalization.at(0).mean == pixel_mean);
  CHECK(info.height == 28);
}

TEST_CASE("what a checkpoint says is used", "[checkpoint_info]") {
  const CheckpointInfo info =
      info_of({{"pixel_mean", "0.5"}, {"pixel_std", "0.25"}, {"image_size", "1x32x20"}});
  CHECK(info.normalization.at(0).mean == 0.5f);
  CHECK(info.normalization.at(0).std == 0.25f);
  CHECK(info.height == 32);
  CHECK(info.width == 20);
}

TEST_CASE("a checkpoint cannot say just anything", "[checkpoint_info]") {
  for (const auto& [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"pixel_mean", ""},
                                                        {"pixel_mean", "nan"},
                                                        {"pixel_mean", "0.1x"},
                                                        {"pixel_std", "0"},
                                                        {"pixel_std", "-1"},
                                                        {"class_names", "0,1"},
                                                        {"image_size", "3x28x28"},
                                                        {"image_size", "1x28"},
                                                        {"image_size", "1x28x28x1"}})
    CHECK(contains(error_of([name = name, value = value] {
                     info_of({{name, value}});
                   }),
                   "its metadata have " + name + " \"" + value + "\", expected "));
}

TEST_CASE("weights that are no numbers are found", "[checkpoint_info]") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const auto fine = kg::Tensor::from(std::vector{1.0f, 2.0f}, {2});
  CHECK_NOTHROW(require_finite(
      {{"a", fine}, {"b", kg::Tensor::zeros({1}, {.dtype = kg::DType::int64, .device = {}})}}));
  CHECK(error_of([&] {
          require_finite({{"a", fine}, {"b", kg::Tensor::from(std::vector{1.0f, nan}, {2})}});
        }) == "the tensor b has values that are NaN or infinite");
  CHECK(contains(error_of([&] {
                   require_finite({{"c", kg::Tensor::from(std::vector{-infinity}, {1})}});
                 }),
                 "tensor c"));
}

}  // namespace
}  // namespace mnist
