// SPDX-License-Identifier: MIT
#include "kernelgrad/training/loader.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "catch.h"
#include "error_of.h"
#include "support.h"

namespace kg::training {
namespace {

/// The smallest data set: a sample is its number.
class Numbers : public Loader {
 public:
  using Loader::Loader;

  Batch batch(int index) const override {
    const std::span<const int> samples = samples_of(index);
    const Shape shape = {static_cast<std::int64_t>(samples.size())};
    return {.inputs = Tensor::from(std::vector<float>(samples.begin(), samples.end()), shape),
            .labels = Tensor::from(std::vector<std::int64_t>(samples.begin(), samples.end()), shape)};
  }
};

std::vector<std::int64_t> labels_of(Loader& loader, int epoch) {
  loader.start_epoch(epoch);
  std::vector<std::int64_t> labels;
  for (int index = 0; index < loader.batches(); ++index) {
    const Batch batch = loader.batch(index);
    CHECK(batch.labels.numel() == loader.size_of(index));
    CHECK(batch.inputs.size(0) == loader.size_of(index));
    for (const std::int64_t label : batch.labels.to_vector<std::int64_t>()) labels.push_back(label);
  }
  return labels;
}

std::vector<std::int64_t> numbers(int count) {
  std::vector<std::int64_t> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

TEST_CASE("a loader of one's own needs nothing but batch()", "[loader]") {
  for (const int count : {1, 2, 101})
    for (const int batch_size : {1, 7, 100, 101, 1000}) {
      INFO(count << " samples, batch size " << batch_size);
      Numbers in_order(count, {.batch_size = batch_size}),
          shuffled(count, {.batch_size = batch_size, .seed = 3, .shuffle = true});
      CHECK(labels_of(in_order, 1) == numbers(count));
      std::vector<std::int64_t> labels = labels_of(shuffled, 2);
      CHECK(std::equal(labels.begin(), labels.end(), shuffled.order().begin(), shuffled.order().end()));
      std::ranges::sort(labels);
      CHECK(labels == numbers(count));
    }
}

TEST_CASE("the order of an epoch follows from seed and epoch, whatever came before", "[loader]") {
  const auto order = [](std::uint64_t seed, int batch_size, std::initializer_list<int> epochs) {
    Numbers loader(101, {.batch_size = batch_size, .seed = seed, .shuffle = true});
    std::vector<std::int64_t> labels;
    for (const int epoch : epochs) labels = labels_of(loader, epoch);
    return labels;
  };
  const std::vector<std::int64_t> expected = order(1, 10, {3});
  CHECK(order(1, 33, {3}) == expected);
  CHECK(order(1, 10, {1, 2, 3}) == expected);
  CHECK(order(2, 10, {3}) != expected);
  CHECK(order(1, 10, {4}) != expected);
}

TEST_CASE("a loader refuses empty batches", "[loader]") {
  CHECK(testing::error_of([] { Numbers(3, {.batch_size = 0}); }) == "batch size 0, expected at least 1");
}

}  // namespace
}  // namespace kg::training
