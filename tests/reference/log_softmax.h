// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "reference/values.h"

namespace kg::reference {

/// x - log(sum of exp(x)) of every row.
inline Values log_softmax(std::int64_t rows, std::int64_t classes, const std::vector<double>& input) {
  Values output({rows, classes});
  for (std::int64_t r = 0; r < rows; ++r) {
    const double* x = input.data() + r * classes;
    const double largest = *std::max_element(x, x + classes);
    double sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - largest);
    for (std::int64_t c = 0; c < classes; ++c) {
      output.add(r * classes + c, x[c]);
      output.add(r * classes + c, -largest);
      output.add(r * classes + c, -std::log(sum));
      // The logarithm makes a relative error of the sum an absolute one.
      output.terms[static_cast<std::size_t>(r * classes + c)] += 1;
    }
  }
  return output;
}

/// The gradient of the sum of output * gradient: gradient - exp(output) * the row's sum of gradient.
inline Values log_softmax_backward(const Values& output, const std::vector<double>& gradient) {
  const std::size_t classes = static_cast<std::size_t>(output.shape[1]);
  Values input(output.shape);
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    Values row_sum({1});
    for (std::size_t c = 0; c < classes; ++c) row_sum.add(0, gradient[i / classes * classes + c]);
    const double probability = std::exp(output.sum[i]);
    input.sum[i] = gradient[i] - probability * row_sum.sum[0];
    // The error of an exponent is relative to the probability.
    input.terms[i] =
        std::abs(gradient[i]) + probability * (row_sum.terms[0] + output.terms[i] * std::abs(row_sum.sum[0]));
  }
  return input;
}

/// Minus the sum of each row's entry at its label, times scale.
inline Values nll_loss(std::int64_t classes, double scale, const std::vector<double>& log_probabilities,
                       const std::vector<std::int64_t>& labels) {
  Values loss(std::vector<std::int64_t>{});
  for (std::size_t r = 0; r < labels.size(); ++r)
    loss.add(
        0,
        -scale *
            log_probabilities[r * static_cast<std::size_t>(classes) + static_cast<std::size_t>(labels[r])]);
  return loss;
}

}  // namespace kg::reference
