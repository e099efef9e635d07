// SPDX-License-Identifier: MIT
#include "order.h"

#include <cstdlib>
#include <numeric>
#include <string>

#include "error.h"

namespace emulator {

/// Small, fast, and the same everywhere (splitmix64).
std::uint64_t Order::random() {
  std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

void Order::begin_launch(std::uint64_t number) {
  const auto variable = [](const char* name, const char* otherwise) -> std::string {
    const char* const value = std::getenv(name);
    return value ? value : otherwise;
  };
  static const std::string wanted = variable("KG_EMULATOR_ORDER", "mixed");
  static const std::uint64_t seed = std::stoull(variable("KG_EMULATOR_SEED", "0"));
  state_ = seed + number * 0x51ed270b;
  if (wanted == "forward")
    kind_ = Kind::forward;
  else if (wanted == "reverse")
    kind_ = Kind::reverse;
  else if (wanted == "random")
    kind_ = Kind::random;
  else if (wanted == "mixed")
    kind_ = static_cast<Kind>(random() % 3);
  else
    fail("KG_EMULATOR_ORDER is none of forward, reverse, random, mixed");
}

void Order::arrange(std::vector<unsigned>& items, std::size_t count) {
  items.resize(count);
  std::iota(items.begin(), items.end(), 0u);
  arrange(count, [&](std::size_t i) -> unsigned& { return items[i]; });
}

}  // namespace emulator
