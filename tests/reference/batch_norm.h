#pragma once

#include <algorithm>

#include "kernels/batch_norm.h"
#include "reference/values.h"

namespace kg::reference {

struct ChannelMoments {
  double mean = 0, biased_variance = 0, unbiased_variance = 0;
};

/// Mean and variance of every channel of relu_before(input).
inline std::vector<ChannelMoments> batch_moments(const kernels::BatchNormProblem& p,
                                                 const std::vector<double>& input) {
  std::vector<ChannelMoments> result(static_cast<std::size_t>(p.channels));
  const auto for_channel = [&](std::int64_t c, const auto& body) {
    for (std::int64_t n = 0; n < p.n; ++n)
      for (std::int64_t i = 0; i < p.plane; ++i) {
        const double x = input[static_cast<std::size_t>((n * p.channels + c) * p.plane + i)];
        body(p.relu_before ? std::max(x, 0.0) : x);
      }
  };
  const double count = static_cast<double>(p.n * p.plane);
  for (std::int64_t c = 0; c < p.channels; ++c) {
    ChannelMoments& m = result[static_cast<std::size_t>(c)];
    for_channel(c, [&](double x) { m.mean += x / count; });
    double squares = 0;
    for_channel(c, [&](double x) { squares += (x - m.mean) * (x - m.mean); });
    m.biased_variance = squares / count;
    m.unbiased_variance = squares / (count - 1);
  }
  return result;
}

/// gamma * (relu_before(input) - mean) / sqrt(variance + epsilon) + beta with the given moments, before
/// relu_after and dropout. gamma and beta may be empty.
inline Values batch_norm(const kernels::BatchNormProblem& p, const std::vector<ChannelMoments>& moments,
                         const std::vector<double>& input, const std::vector<double>& gamma,
                         const std::vector<double>& beta) {
  Values output({p.n, p.channels, p.plane});
  for (std::size_t i = 0; i < input.size(); ++i) {
    const std::size_t c = i / static_cast<std::size_t>(p.plane) % static_cast<std::size_t>(p.channels);
    const double x = p.relu_before ? std::max(input[i], 0.0) : input[i];
    const double scale = (gamma.empty() ? 1 : gamma[c]) / std::sqrt(moments[c].biased_variance + p.epsilon);
    const std::int64_t index = static_cast<std::int64_t>(i);
    output.add(index, x * scale);
    output.add(index, -moments[c].mean * scale);
    if (!beta.empty()) output.add(index, beta[c]);
  }
  return output;
}

}  // namespace kg::reference
