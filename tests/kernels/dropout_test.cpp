// SPDX-License-Identifier: MIT
#include "kernels/dropout.h"

#include <Random123/philox.h>

#include "kernels/batch_norm.h"
#include "kernels/cpu/dropout.h"
#include "kernels_on.h"
#include "support.h"

namespace kg {
namespace {

using namespace testing;
using kernels::DropoutProblem;

/// The number drawn for an element, by Random123's own code and the contract in kernels/dropout.h.
std::uint32_t word(const DropoutProblem& p, std::uint64_t element) {
  const std::uint64_t block = element / 4;
  const r123::Philox4x32::ctr_type counter = {
      {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
       static_cast<std::uint32_t>(p.offset), static_cast<std::uint32_t>(RandomPurpose::dropout)}};
  const r123::Philox4x32::key_type key = {
      {static_cast<std::uint32_t>(p.seed), static_cast<std::uint32_t>(p.seed >> 32)}};
  return r123::Philox4x32()(counter, key)[element % 4];
}

/// Whether the factors of `count` elements from `first` on are what Random123 gives.
template <class T>
bool agrees(const DropoutProblem& p, std::int64_t first, std::int64_t count) {
  std::vector<T> factors(static_cast<std::size_t>(count));
  kernels::cpu::dropout_factors(p, first, count, factors.data());
  const T scale = static_cast<T>(1 / (1 - p.p));
  for (std::int64_t i = 0; i < count; ++i) {
    const bool kept = word(p, static_cast<std::uint64_t>(first + i)) >= p.p * 0x1p32;
    if (factors[static_cast<std::size_t>(i)] != (kept ? scale : T(0))) return false;
  }
  return true;
}

constexpr std::uint64_t seeds[] = {0, 1, 0xDEADBEEF, 0x0123456789ABCDEF, ~0ull};
constexpr std::uint64_t offsets[] = {0, 1, 1000, 0xFFFFFFFF};

TEST_CASE("The CPU's dropout draws what Random123 draws", "[dropout][kernels]") {
  for (const std::uint64_t seed : seeds)
    for (const std::uint64_t offset : offsets)
      for (const double p : {0.1, 0.5, 0.99}) {
        const DropoutProblem problem{.p = p, .seed = seed, .offset = offset};
        for (std::int64_t count = 1; count <= 70; ++count)
          for (const std::int64_t first : {0, 1, 2, 3, 4, 5, 63, 1001}) {
            INFO("seed " << seed << ", offset " << offset << ", p " << p << ", first " << first << ", count "
                         << count);
            CHECK((agrees<float>(problem, first, count) && agrees<double>(problem, first, count)));
          }
      }
}

TEST_CASE("The CPU's dropout carries the block number into its upper half", "[dropout][kernels]") {
  const DropoutProblem problem{.p = 0.5, .seed = 12345, .offset = 7};
  const std::int64_t upper_half_begins = std::int64_t{4} << 32;
  for (std::int64_t before = 0; before <= 140; ++before) {
    INFO("starts " << before << " elements before block 2^32");
    CHECK(agrees<float>(problem, upper_half_begins - before, 150));
  }
  CHECK(agrees<float>(problem, 5 * upper_half_begins - 33, 70));
}

/// What the kernel makes of ones, `offset` elements into arrays that are aligned.
template <class T>
std::vector<T> dropped_ones(const DropoutProblem& p, std::int64_t count, Device device,
                            std::int64_t offset = 0) {
  const Tensor ones = Tensor::ones({count + offset}, {.dtype = dtype_of<T>(), .device = device});
  Tensor result = Tensor::full({count + offset}, -1, {.dtype = dtype_of<T>(), .device = device});
  kernels_on<kernels::DropoutKernels, T>(device).apply(p, count, ones.device_data<T>() + offset,
                                                       result.device_data<T>() + offset);
  const std::vector<T> values = result.to_vector<T>();
  for (std::int64_t i = 0; i < offset; ++i) CHECK(values[static_cast<std::size_t>(i)] == -1);
  return {values.begin() + offset, values.end()};
}

template <class T>
std::vector<T> expected_ones(const DropoutProblem& p, std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = word(p, i) >= p.drop_threshold() ? static_cast<T>(p.scale()) : T(0);
  return values;
}

TEST_CASE("Every device's dropout draws what Random123 draws", "[dropout][kernels]") {
  for (const Device device : devices())
    for (const std::uint64_t seed : seeds)
      for (const double p : {0.0, 1e-12, 0.3, 0.99, 1.0})
        for (const std::int64_t count : {0, 1, 2, 3, 4, 5, 7, 8, 9, 1023, 1024, 1025, 2049}) {
          INFO(device.name() << ", seed " << seed << ", p " << p << ", " << count << " elements");
          const DropoutProblem problem{.p = p, .seed = seed, .offset = seed >> 7};
          CHECK((dropped_ones<float>(problem, count, device) == expected_ones<float>(problem, count)));
          CHECK((dropped_ones<double>(problem, count, device) == expected_ones<double>(problem, count)));
        }
}

TEST_CASE("dropout's mask does not depend on where the arrays lie", "[dropout][kernels]") {
  const DropoutProblem problem{.p = 0.4, .seed = 3, .offset = 5};
  for (const Device device : devices())
    for (const std::int64_t offset : {1, 2, 3})
      for (const std::int64_t count : {5, 64, 1025}) {
        INFO(device.name() << ", " << offset << " elements in, " << count << " elements");
        CHECK((dropped_ones<float>(problem, count, device, offset) == expected_ones<float>(problem, count)));
        CHECK(
            (dropped_ones<double>(problem, count, device, offset) == expected_ones<double>(problem, count)));
      }
}

TEST_CASE("dropout adds what lies in device memory to the number of the draw", "[dropout][kernels]") {
  for (const Device device : devices())
    for (const std::int64_t base : {std::int64_t{0}, std::int64_t{41}, (std::int64_t{1} << 33) - 5}) {
      INFO(device.name() << ", base " << base);
      const Tensor memory = Tensor::from(std::vector<std::int64_t>{base}, {1}, device);
      const DropoutProblem problem{
          .p = 0.5,
          .seed = 7,
          .offset = 11,
          .offset_base = reinterpret_cast<const std::uint64_t*>(memory.device_data<std::int64_t>())};
      DropoutProblem sum = problem;
      sum.offset += static_cast<std::uint64_t>(base);
      sum.offset_base = nullptr;
      CHECK((dropped_ones<float>(problem, 300, device) == expected_ones<float>(sum, 300)));
    }
}

TEST_CASE("The dropout in batch_norm is that of dropout, in forward and backward", "[dropout][kernels]") {
  // Planes that begin at every remainder of four; the second has more than one block for each channel.
  const std::int64_t n = 5, channels = 3, plane = GENERATE(7, 8001);
  const std::int64_t count = n * channels * plane;
  for (const Device device : devices()) {
    INFO(device.name() << ", plane " << plane);
    const Tensor base = Tensor::from(std::vector<std::int64_t>{1000}, {1}, device);
    const DropoutProblem dropout{
        .p = 0.5,
        .seed = 7,
        .offset = 11,
        .offset_base = reinterpret_cast<const std::uint64_t*>(base.device_data<std::int64_t>())};
    const std::vector<float> expected = expected_ones<float>({.p = 0.5, .seed = 7, .offset = 1011}, count);
    const Tensor zeros = Tensor::zeros({count}, {.device = device});
    const Tensor ones = Tensor::ones({count}, {.device = device});
    const Tensor mean = Tensor::full({channels}, -1, {.device = device});
    const Tensor var = Tensor::ones({channels}, {.device = device});
    Tensor inv_std = Tensor::empty({channels}, {.device = device});
    Tensor result = Tensor::empty({count}, {.device = device});
    // (0 - -1) / sqrt(1 + 0) is 1, and so is the slope.
    const kernels::BatchNormProblem problem{
        .n = n, .channels = channels, .plane = plane, .epsilon = 0, .dropout = dropout};
    const auto& kernels = kernels_on<kernels::BatchNormKernels, float>(device);
    kernels.forward_inference(problem, zeros.device_data<float>(), nullptr, nullptr,
                              mean.device_data<float>(), var.device_data<float>(),
                              inv_std.device_data<float>(), result.device_data<float>());
    CHECK((result.to_vector<float>() == expected));
    kernels.backward(problem, false, zeros.device_data<float>(), ones.device_data<float>(), nullptr, nullptr,
                     mean.device_data<float>(), inv_std.device_data<float>(), result.device_data<float>(),
                     nullptr, nullptr);
    CHECK((result.to_vector<float>() == expected));
  }
}

TEST_CASE("kg::dropout draws by seed, draw and place", "[dropout][kernels]") {
  Generator generator;
  generator.set_state(0x0123456789ABCDEF, 41);
  const DropoutProblem problem{.p = 0.3, .seed = generator.seed(), .offset = generator.draws()};
  for (const Device device : devices()) {
    INFO(device.name());
    generator.set_state(problem.seed, problem.offset);
    const Tensor y = dropout(Tensor::ones({40'001}, {.device = device}), 0.3, generator);
    CHECK((y.to_vector<float>() == expected_ones<float>(problem, 40'001)));
  }
}

}  // namespace
}  // namespace kg
