// SPDX-License-Identifier: MIT
#pragma once

#include "kernels/linear.h"
#include "reference/values.h"

namespace kg::reference {

/// `bias` may be empty.
inline Values linear(const kernels::LinearProblem& p, const std::vector<double>& input,
                     const std::vector<double>& weight, const std::vector<double>& bias) {
  Values output({p.rows, p.out_features});
  for (std::int64_t r = 0; r < p.rows; ++r)
    for (std::int64_t o = 0; o < p.out_features; ++o) {
      for (std::int64_t i = 0; i < p.in_features; ++i)
        output.add(r * p.out_features + o, input[static_cast<std::size_t>(r * p.in_features + i)] *
                                               weight[static_cast<std::size_t>(o * p.in_features + i)]);
      if (!bias.empty()) output.add(r * p.out_features + o, bias[static_cast<std::size_t>(o)]);
    }
  return output;
}

struct LinearGradients {
  Values input, weight, bias;
};

inline LinearGradients linear_backward(const kernels::LinearProblem& p, const std::vector<double>& input,
                                       const std::vector<double>& weight,
                                       const std::vector<double>& gradient) {
  LinearGradients result{Values({p.rows, p.in_features}), Values({p.out_features, p.in_features}),
                         Values({p.out_features})};
  for (std::int64_t r = 0; r < p.rows; ++r)
    for (std::int64_t o = 0; o < p.out_features; ++o) {
      const double g = gradient[static_cast<std::size_t>(r * p.out_features + o)];
      result.bias.add(o, g);
      for (std::int64_t i = 0; i < p.in_features; ++i) {
        result.input.add(r * p.in_features + i, g * weight[static_cast<std::size_t>(o * p.in_features + i)]);
        result.weight.add(o * p.in_features + i, g * input[static_cast<std::size_t>(r * p.in_features + i)]);
      }
    }
  return result;
}

}  // namespace kg::reference
