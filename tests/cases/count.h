// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace kg::cases {

/// The problem of an operation for which only the number of elements matters.
struct Count {
  std::int64_t count;
};

inline std::string describe(const Count& c) { return std::to_string(c.count) + " elements"; }

}  // namespace kg::cases
