// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "catch.h"

/// Each value within rounding of the type that it was stored as.
template <class T>
void check_close(const std::vector<double>& expected, const std::vector<T>& actual) {
  REQUIRE(actual.size() == expected.size());
  const double tolerance = sizeof(T) == sizeof(double) ? 1e-13 : 1e-6;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    INFO("element " << i << ": " << actual[i] << ", expected " << expected[i]);
    CHECK(std::abs(actual[i] - expected[i]) <= tolerance * std::max(1.0, std::abs(expected[i])));
  }
}
