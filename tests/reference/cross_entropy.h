// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>

#include "reference/values.h"

namespace kg::reference {

/// scale * sum over the rows of log(sum of exp(x)) - x[label].
inline Values cross_entropy(std::int64_t classes, double scale, const std::vector<double>& logits,
                            const std::vector<std::int64_t>& labels) {
  Values loss(std::vector<std::int64_t>{});
  for (std::size_t r = 0; r < labels.size(); ++r) {
    const double* x = logits.data() + static_cast<std::int64_t>(r) * classes;
    const double largest = *std::max_element(x, x + classes);
    double sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - largest);
    loss.add(0, scale * std::log(sum));
    loss.add(0, scale * largest);
    loss.add(0, -scale * x[labels[r]]);
    // The logarithm makes a relative error of the sum an absolute one.
    loss.terms[0] += scale;
  }
  return loss;
}

/// grad_loss * scale * (exp(x) / sum of exp(x) - (column == label)).
inline Values cross_entropy_backward(std::int64_t classes, double scale, double grad_loss,
                                     const std::vector<double>& logits,
                                     const std::vector<std::int64_t>& labels) {
  Values gradient({static_cast<std::int64_t>(labels.size()), classes});
  for (std::size_t r = 0; r < labels.size(); ++r) {
    const std::int64_t row = static_cast<std::int64_t>(r) * classes;
    const double* x = logits.data() + row;
    const double largest = *std::max_element(x, x + classes);
    double sum = 0;
    for (std::int64_t c = 0; c < classes; ++c) sum += std::exp(x[c] - largest);
    for (std::int64_t c = 0; c < classes; ++c) {
      gradient.add(row + c, grad_loss * scale * std::exp(x[c] - largest) / sum);
      if (c == labels[r]) gradient.add(row + c, -grad_loss * scale);
    }
  }
  return gradient;
}

}  // namespace kg::reference
