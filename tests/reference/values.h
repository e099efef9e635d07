// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

/// The operations once more, written down from their formulas in double precision, without any thought of
/// speed: what the kernels are held against. Shares no code with them.
namespace kg::reference {

/// A tensor of sums. Next to every sum stands the sum of its terms' absolute values, which is what rounding
/// errors are in proportion to.
struct Values {
  std::vector<std::int64_t> shape;
  std::vector<double> sum, terms;

  Values() = default;
  explicit Values(std::vector<std::int64_t> extents) : shape(std::move(extents)) {
    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    sum.resize(count);
    terms.resize(count);
  }
  Values(std::vector<std::int64_t> extents, std::vector<double> sums, std::vector<double> all_terms)
      : shape(std::move(extents)), sum(std::move(sums)), terms(std::move(all_terms)) {}

  void add(std::int64_t index, double term) {
    sum[static_cast<std::size_t>(index)] += term;
    terms[static_cast<std::size_t>(index)] += std::abs(term);
  }
};

}  // namespace kg::reference
