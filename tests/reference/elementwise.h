// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "reference/values.h"

namespace kg::reference {

/// Where element `index` of a tensor of `shape` lies in one of `other` that is broadcast to it, or into which
/// it is summed: the coordinates along dimensions that `other` lacks, or has with extent 1, do not matter.
inline std::int64_t broadcast_index(std::int64_t index, const std::vector<std::int64_t>& shape,
                                    const std::vector<std::int64_t>& other) {
  std::int64_t result = 0, stride = 1;
  for (std::size_t from_end = 1; from_end <= shape.size(); ++from_end) {
    const std::int64_t extent = shape[shape.size() - from_end], coordinate = index % extent;
    index /= extent;
    if (from_end > other.size()) continue;
    const std::int64_t other_extent = other[other.size() - from_end];
    if (other_extent > 1) result += coordinate * stride;
    stride *= other_extent;
  }
  return result;
}

inline std::vector<std::int64_t> broadcast_shape(std::vector<std::int64_t> a, std::vector<std::int64_t> b) {
  const std::size_t rank = std::max(a.size(), b.size());
  a.insert(a.begin(), rank - a.size(), 1);
  b.insert(b.begin(), rank - b.size(), 1);
  for (std::size_t d = 0; d < rank; ++d) a[d] = std::max(a[d], b[d]);
  return a;
}

}  // namespace kg::reference
