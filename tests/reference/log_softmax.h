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
