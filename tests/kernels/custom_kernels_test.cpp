// SPDX-License-Identifier: MIT
#include "kernels/custom_kernels.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "catch.h"
#include "error_of.h"
#include "kernelgrad/device_array.h"
#include "kernelgrad/graph.h"
#include "kernelgrad/tensor.h"

/// What kernelgrad/cuda.h offers to kernels from outside the library, and arrays in device memory.

using namespace kg;
using testing::error_of;

namespace {

struct Odd {
  char letter;
  double number;
};

std::vector<float> some_values(std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>((i * 37) % 101) - 50;
  return values;
}

}  // namespace

TEST_CASE("A device array keeps plain values on either device", "[device_array]") {
  for (const Device device : {Device::cpu(), Device::cuda()}) {
    INFO(device.name());
    const std::vector<Odd> values = {{'a', 1.5}, {'b', -2}, {'c', 1e300}};
    DeviceArray<Odd> array(3, device);
    CHECK(array.size() == 3);
    CHECK(array.device() == device);
    array.copy_from(values);
    const Odd* const address = array.data();
    DeviceArray<Odd> moved = std::move(array);
    CHECK(moved.data() == address);
    const std::vector<Odd> back = moved.to_vector();
    REQUIRE(back.size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK(back[i].letter == values[i].letter);
      CHECK(back[i].number == values[i].number);
    }
    CHECK(DeviceArray<Odd>(0, device).to_vector().empty());
  }
}

TEST_CASE("A device array says what is wrong", "[device_array]") {
  DeviceArray<int> array(2, Device::cpu());
  const std::vector<int> three(3);
  CHECK(error_of([&] { array.copy_from(three); }) == "DeviceArray: 3 values given, expected 2");
  CHECK(error_of([] { DeviceArray<int>(-1, Device::cpu()); }) ==
        "DeviceArray: -1 elements asked for, expected 0 or more");
  CHECK(error_of([] { DeviceArray<double>(std::numeric_limits<std::int64_t>::max(), Device::cpu()); }) ==
        "DeviceArray: no memory");
}

TEST_CASE("A custom kernel draws the numbers of RandomStream", "[custom_kernels]") {
  const std::uint64_t seed = 0x123456789abcdef0;
  const std::uint32_t step = 7, sample = 3;
  const std::int64_t blocks = 101;
  DeviceArray<std::uint32_t> words(4 * blocks);
  custom::draw(seed, RandomPurpose::user, step, std::uint64_t{sample} << 32, blocks, words.data());
  RandomStream stream(seed, RandomPurpose::user, step, sample);
  std::vector<std::uint32_t> expected(static_cast<std::size_t>(words.size()));
  std::ranges::generate(expected, [&] { return stream.bits(); });
  CHECK(words.to_vector() == expected);
}

TEST_CASE("A custom kernel reduces over a block, and can be recorded", "[custom_kernels]") {
  const std::int64_t count = 2 * custom::values_per_block + 77;
  std::vector<float> values = some_values(count);
  Tensor input = Tensor::from(values, {count}, Device::cuda());
  DeviceArray<custom::Range> ranges(3);
  const auto check = [&] {
    const std::vector<custom::Range> found = ranges.to_vector();
    for (std::int64_t b = 0; b < 3; ++b) {
      const auto begin = values.begin() + b * custom::values_per_block;
      const auto end = b < 2 ? begin + custom::values_per_block : values.end();
      const custom::Range& range = found[static_cast<std::size_t>(b)];
      CHECK(range.count == end - begin);
      CHECK(range.sum == std::accumulate(begin, end, 0.0));
      CHECK(range.largest == *std::max_element(begin, end));
    }
  };
  const auto work = [&] { custom::measure(count, input.device_data<float>(), ranges.data()); };
  work();
  check();

  Graph graph(work);
  std::ranges::transform(values, values.begin(), [](float value) { return 3 - 2 * value; });
  input.copy_from(Tensor::from(values, {count}));
  graph.replay();
  check();
}
