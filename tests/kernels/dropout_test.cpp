#include "kernels/dropout.h"

#include <Random123/philox.h>

#include "kernels/cpu/dropout.h"
#include "support.h"

namespace kg {
namespace {

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

TEST_CASE("kg::dropout draws by seed, draw and place", "[dropout][kernels]") {
  Generator generator;
  generator.set_state(0x0123456789ABCDEF, 41);
  const DropoutProblem problem{.p = 0.3, .seed = generator.seed(), .offset = generator.draws()};
  const Tensor y = dropout(Tensor::ones({40'001}), 0.3, generator);
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < y.numel(); ++i)
    wrong += (y.data<float>()[i] != 0) !=
             (word(problem, static_cast<std::uint64_t>(i)) >= problem.drop_threshold());
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace kg
