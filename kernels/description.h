// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>

namespace kg::kernels {

/// A problem in words, "128x8x24x24, weight 16x8x3x3 padding 1x1": the same for problems that take the same
/// time, and for no others. It is made at every call, so it is kept as labels and numbers, which takes some
/// 10 ns. As a text it would take as long as a launch.
class Description {
 public:
  /// "<label>2x3x4".
  Description& extents(const char* label, std::span<const std::int64_t> numbers) {
    for (const std::int64_t number : numbers) {
      add({label, number});
      label = "x";
    }
    return *this;
  }
  Description& extents(const char* label, std::initializer_list<std::int64_t> numbers) {
    return extents(label, std::span(numbers.begin(), numbers.size()));
  }
  /// As extents(), but nothing where all have the standard value.
  Description& option(const char* label, std::int64_t h, std::int64_t w, std::int64_t standard) {
    return h == standard && w == standard ? *this : extents(label, {h, w});
  }
  Description& option(const char* label, std::int64_t number, std::int64_t standard) {
    return number == standard ? *this : extents(label, {number});
  }
  /// The label alone, and nothing where it does not apply.
  Description& note(const char* label, bool applies = true) {
    if (applies) add({label, no_number});
    return *this;
  }

  bool operator==(const Description& other) const {
    if (size_ != other.size_) return false;
    for (std::size_t i = 0; i < size_; ++i)
      if (parts_[i].number != other.parts_[i].number ||
          std::strcmp(parts_[i].label, other.parts_[i].label) != 0)
        return false;
    return true;
  }
  /// Of the numbers.
  std::size_t hash() const {
    std::size_t value = size_;
    for (std::size_t i = 0; i < size_; ++i)
      value = (value ^ static_cast<std::size_t>(parts_[i].number)) * 0x9e3779b97f4a7c15u;
    return value ^ value >> 32;
  }
  std::string text() const {
    std::string result;
    for (std::size_t i = 0; i < size_; ++i) {
      result += parts_[i].label;
      if (parts_[i].number != no_number) result += std::to_string(parts_[i].number);
    }
    return result;
  }

 private:
  static constexpr std::int64_t no_number = INT64_MIN;
  struct Part {
    const char* label;
    std::int64_t number;
  };

  void add(Part part) { parts_.at(size_++) = part; }

  std::array<Part, 20> parts_;
  std::size_t size_ = 0;
};

}  // namespace kg::kernels
