// SPDX-License-Identifier: MIT
#pragma once

#include "bench.h"
#include "kernels/pool2d_problem.h"

namespace bench {

/// A pooling with square windows.
struct PoolCase {
  kg::Shape input;
  std::int64_t k, stride, padding = 0;

  kg::kernels::Pool2dProblem problem() const {
    return {.planes = input[0] * input[1],
            .h = input[2],
            .w = input[3],
            .k_h = k,
            .k_w = k,
            .stride_h = stride,
            .stride_w = stride,
            .padding_h = padding,
            .padding_w = padding};
  }
  kg::Shape output() const { return {input[0], input[1], problem().out_h(), problem().out_w()}; }
  kg::PoolOptions options() const { return {.stride = stride, .padding = padding}; }
  std::string name() const {
    return shape_suffix(input) + option_suffix("k", static_cast<double>(k), 0) +
           option_suffix("stride", static_cast<double>(stride), static_cast<double>(k)) +
           option_suffix("padding", static_cast<double>(padding), 0);
  }
};

}  // namespace bench
