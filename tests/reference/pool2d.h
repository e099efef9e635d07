// SPDX-License-Identifier: MIT
#pragma once

#include "kernels/pool2d_problem.h"
#include "reference/values.h"

namespace kg::reference {

/// Calls pair(output element, input element) for every pixel of every window, in row-major order.
template <class Pair>
void for_pool2d_pairs(const kernels::Pool2dProblem& p, const Pair& pair) {
  for (std::int64_t z = 0; z < p.planes; ++z)
    for (std::int64_t y = 0; y < p.out_h(); ++y)
      for (std::int64_t x = 0; x < p.out_w(); ++x)
        for (std::int64_t i = 0; i < p.k_h; ++i)
          for (std::int64_t j = 0; j < p.k_w; ++j) {
            const std::int64_t in_y = y * p.stride_h - p.padding_h + i;
            const std::int64_t in_x = x * p.stride_w - p.padding_w + j;
            if (in_y < 0 || in_y >= p.h || in_x < 0 || in_x >= p.w) continue;
            pair((z * p.out_h() + y) * p.out_w() + x, (z * p.h + in_y) * p.w + in_x);
          }
}

struct Pooled {
  Values output, input_gradient;
};

/// Maximum per window, and the gradient of the sum of output * gradient.
inline Pooled max_pool2d(const kernels::Pool2dProblem& p, const std::vector<double>& input,
                         const std::vector<double>& gradient) {
  Pooled result{Values({p.planes, 1, p.out_h(), p.out_w()}), Values({p.planes, 1, p.h, p.w})};
  std::vector<std::int64_t> winner(result.output.sum.size(), -1);
  for_pool2d_pairs(p, [&](std::int64_t out, std::int64_t in) {
    std::int64_t& best = winner[static_cast<std::size_t>(out)];
    if (best < 0 || input[static_cast<std::size_t>(in)] > input[static_cast<std::size_t>(best)]) best = in;
  });
  for (std::size_t out = 0; out < winner.size(); ++out) {
    result.output.add(static_cast<std::int64_t>(out), input[static_cast<std::size_t>(winner[out])]);
    result.input_gradient.add(winner[out], gradient[out]);
  }
  return result;
}

/// Mean per window, where the pixels outside the image count as 0 (count_include_pad) or not at all.
inline Pooled avg_pool2d(const kernels::Pool2dProblem& p, bool count_include_pad,
                         const std::vector<double>& input, const std::vector<double>& gradient) {
  Pooled result{Values({p.planes, 1, p.out_h(), p.out_w()}), Values({p.planes, 1, p.h, p.w})};
  std::vector<double> divisor(result.output.sum.size(), count_include_pad ? double(p.k_h * p.k_w) : 0);
  if (!count_include_pad)
    for_pool2d_pairs(p, [&](std::int64_t out, std::int64_t) { ++divisor[static_cast<std::size_t>(out)]; });
  for_pool2d_pairs(p, [&](std::int64_t out, std::int64_t in) {
    const std::size_t o = static_cast<std::size_t>(out);
    result.output.add(out, input[static_cast<std::size_t>(in)] / divisor[o]);
    result.input_gradient.add(in, gradient[o] / divisor[o]);
  });
  return result;
}

}  // namespace kg::reference
