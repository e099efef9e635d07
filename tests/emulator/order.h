// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace emulator {

/// In which order a launch's blocks run, and a block's threads between two barriers: forward, in reverse or
/// at random. The environment's KG_EMULATOR_ORDER and KG_EMULATOR_SEED decide; the same in every run.
class Order {
 public:
  /// Chooses the order of the next launch, by its number.
  void begin_launch(std::uint64_t number);

  /// Brings slot(0) ... slot(count - 1), which stand in forward order, into this launch's.
  template <class Slot>
  void arrange(std::size_t count, Slot slot) {
    if (kind_ == Kind::reverse)
      for (std::size_t i = 0; i < count / 2; ++i) std::swap(slot(i), slot(count - 1 - i));
    if (kind_ == Kind::random)
      for (std::size_t i = count; i > 1; --i) std::swap(slot(i - 1), slot(random() % i));
  }

  /// `items` becomes 0 ... count - 1 in this launch's order.
  void arrange(std::vector<unsigned>& items, std::size_t count);

 private:
  enum class Kind { forward, reverse, random };
  std::uint64_t random();

  Kind kind_ = Kind::forward;
  std::uint64_t state_ = 0;
};

}  // namespace emulator
