// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "kernels/description.h"

namespace kg::kernels {

/// A pooling window sliding over each of `planes` (batch times channels) images of h x w. Windows may overlap
/// (stride < kernel) and reach into the padding, never lie wholly in it (padding <= kernel / 2).
struct Pool2dProblem {
  std::int64_t planes, h, w, k_h, k_w, stride_h, stride_w, padding_h = 0, padding_w = 0;

  std::int64_t out_h() const { return (h + 2 * padding_h - k_h) / stride_h + 1; }
  std::int64_t out_w() const { return (w + 2 * padding_w - k_w) / stride_w + 1; }

  /// "1024 planes 24x24, window 2x2 stride 2x2".
  Description description() const {
    return Description()
        .extents("", {planes})
        .extents(" planes ", {h, w})
        .extents(", window ", {k_h, k_w})
        .option(" stride ", stride_h, stride_w, 1)
        .option(" padding ", padding_h, padding_w, 0);
  }
};

}  // namespace kg::kernels
