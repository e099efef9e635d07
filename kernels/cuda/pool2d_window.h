// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "kernels/pool2d_problem.h"
#include "kernels/table.h"

/// Where pooling windows lie, for the kernels of max_pool2d and avg_pool2d.
namespace kg::kernels::cuda {

/// Rows, columns or windows begin, begin + 1, ..., end - 1.
struct PoolRange {
  int begin, end;
};

/// The windows along one dimension of an image.
struct PoolAxis {
  int extent, kernel, stride, padding, windows;

  /// The part of a window that lies inside the image.
  __device__ PoolRange inside(int window) const {
    const int first = window * stride - padding;
    return {max(first, 0), min(first + kernel, extent)};
  }
  /// The windows that contain pixel i: those whose first pixel is no later than i and less than `kernel`
  /// before it. None (begin >= end) where i lies in a gap between windows.
  __device__ PoolRange over(int i) const {
    const int too_early = i + padding - kernel;
    return {too_early < 0 ? 0 : too_early / stride + 1, min((i + padding) / stride + 1, windows)};
  }
};

/// A Pool2dProblem's windows, in 32 bits: what is added up here stays below 2^31 because images have fewer
/// than 2^30 pixels and kernels at most 2^30 in each direction.
struct PoolWindows {
  PoolAxis rows, columns;

  PoolWindows(const char* op, const Pool2dProblem& p)
      : rows(axis(p.h, p.k_h, p.stride_h, p.padding_h, p.out_h())),
        columns(axis(p.w, p.k_w, p.stride_w, p.padding_w, p.out_w())) {
    if (p.h * p.w >= std::int64_t{1} << 30)
      throw Unsupported(std::string(op) + ": images of " + std::to_string(p.h) + "x" + std::to_string(p.w) +
                        " pixels, expected fewer than 2^30");
  }

 private:
  static PoolAxis axis(std::int64_t extent, std::int64_t kernel, std::int64_t stride, std::int64_t padding,
                       std::int64_t windows) {
    const auto narrow = [](std::int64_t value) { return static_cast<int>(value); };
    return {narrow(extent), narrow(kernel), narrow(stride), narrow(padding), narrow(windows)};
  }
};

/// Element `index` of a stack of planes, each of height x width.
struct PoolElement {
  std::int64_t plane;
  int y, x;

  __device__ PoolElement(std::int64_t index, int height, int width)
      : plane(index / (std::int64_t{height} * width)) {
    const int rest = static_cast<int>(index - plane * height * width);
    y = rest / width;
    x = rest - y * width;
  }
};

}  // namespace kg::kernels::cuda
