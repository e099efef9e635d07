// SPDX-License-Identifier: MIT
#include <Random123/philox.h>

#include <set>

#include "support.h"

namespace kg {
namespace {

TEST_CASE("RandomStream is Philox4x32-10 at (position, sample, step, purpose)", "[random]") {
  RandomStream stream(0x0123456789ABCDEF, RandomPurpose::augmentation, 17, 4000000000u);
  for (std::uint32_t position = 0; position < 20; ++position) {
    const auto block = r123::Philox4x32()({{position, 4000000000u, 17, 3}}, {{0x89ABCDEF, 0x01234567}});
    for (int i = 0; i < 4; ++i) CHECK(stream.bits() == block[static_cast<std::size_t>(i)]);
  }
}

TEST_CASE("RandomStream gives the published numbers of Philox4x32-10", "[random]") {
  // Random123's known answer for counter 0 and key 0; initialization has purpose 0.
  RandomStream stream(0, RandomPurpose::initialization);
  for (const std::uint32_t expected : {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u})
    CHECK(stream.bits() == expected);
}

TEST_CASE("Every part of the address gives another sequence", "[random]") {
  std::set<std::uint32_t> first;
  first.insert(RandomStream(1, RandomPurpose::user).bits());
  first.insert(RandomStream(2, RandomPurpose::user).bits());
  first.insert(RandomStream(1ull << 32 | 1, RandomPurpose::user).bits());
  first.insert(RandomStream(1, RandomPurpose::shuffle).bits());
  first.insert(RandomStream(1, RandomPurpose::user, 1).bits());
  first.insert(RandomStream(1, RandomPurpose::user, 0, 1).bits());
  CHECK(first.size() == 6);
}

TEST_CASE("uniform lies in its interval and fills it evenly", "[random]") {
  RandomStream stream(1, RandomPurpose::user);
  const int count = 100'000;
  std::vector<int> tenths(10);
  for (int i = 0; i < count; ++i) {
    const double x = stream.uniform();
    REQUIRE((x >= 0 && x < 1));
    ++tenths[static_cast<std::size_t>(x * 10)];
    const double y = stream.uniform(-3, 5);
    REQUIRE((y >= -3 && y < 5));
  }
  for (const int hits : tenths) CHECK(std::abs(hits - count / 10) < 5 * std::sqrt(count * 0.09));
}

TEST_CASE("below gives every number below n equally often", "[random]") {
  RandomStream stream(1, RandomPurpose::user);
  CHECK(stream.below(1) == 0);
  const int count = 70'000;
  std::vector<int> hits(7);
  for (int i = 0; i < count; ++i) {
    const std::uint32_t value = stream.below(7);
    REQUIRE(value < 7);
    ++hits[value];
  }
  for (const int number : hits) CHECK(std::abs(number - count / 7) < 5 * std::sqrt(count * 6.0 / 49));
  // Modulo bias would be largest here: 2^32 is 1.33 times n.
  const std::uint32_t n = 3u << 30;
  int low = 0;
  for (int i = 0; i < count; ++i) low += stream.below(n) < n / 3;
  CHECK(std::abs(low - count / 3) < 5 * std::sqrt(count * 2.0 / 9));
}

}  // namespace
}  // namespace kg
