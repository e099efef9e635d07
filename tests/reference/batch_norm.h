// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>

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

/// Calls body(channel, element) for the elements in their order.
template <class Body>
void for_channel_elements(const kernels::BatchNormProblem& p, const Body& body) {
  std::size_t i = 0;
  for (std::int64_t n = 0; n < p.n; ++n)
    for (std::int64_t c = 0; c < p.channels; ++c)
      for (std::int64_t k = 0; k < p.plane; ++k, ++i) body(static_cast<std::size_t>(c), i);
}

/// 1 / sqrt(variance + epsilon) of every channel.
inline std::vector<double> inverse_roots(const kernels::BatchNormProblem& p,
                                         const std::vector<ChannelMoments>& moments) {
  std::vector<double> result;
  for (const ChannelMoments& m : moments) result.push_back(1 / std::sqrt(m.biased_variance + p.epsilon));
  return result;
}

/// gamma * (relu_before(input) - mean) / sqrt(variance + epsilon) + beta with the given moments, before
/// relu_after and dropout. gamma and beta may be empty.
inline Values batch_norm(const kernels::BatchNormProblem& p, const std::vector<ChannelMoments>& moments,
                         const std::vector<double>& input, const std::vector<double>& gamma,
                         const std::vector<double>& beta) {
  Values output({p.n, p.channels, p.plane});
  const std::vector<double> inverse = inverse_roots(p, moments);
  for_channel_elements(p, [&](std::size_t c, std::size_t i) {
    const double x = p.relu_before ? std::max(input[i], 0.0) : input[i];
    const double scale = gamma.empty() ? inverse[c] : gamma[c] * inverse[c], mean = moments[c].mean * scale;
    const double shift = beta.empty() ? 0 : beta[c];
    output.sum[i] = x * scale - mean + shift;
    output.terms[i] = std::abs(x * scale) + std::abs(mean) + std::abs(shift);
  });
  return output;
}

struct BatchNormGradients {
  Values input, gamma, beta;
};

/// The gradients of the sum of relu_after(output) * gradient, where mean and variance depend on the input
/// (`batch_statistics`) or not. With n values a channel, their standardised values s and incoming gradients
/// g:
///
///   gamma: sum(g * s)    beta: sum(g)
///   input: gamma / sqrt(variance + epsilon) * (g - sum(g) / n - s * sum(g * s) / n)
///
/// A standardised value is a difference, and its rounding is in proportion to what it is the difference of.
inline BatchNormGradients batch_norm_backward(const kernels::BatchNormProblem& p,
                                              const std::vector<ChannelMoments>& moments,
                                              bool batch_statistics, const std::vector<double>& input,
                                              const std::vector<double>& gamma,
                                              const std::vector<double>& beta, std::vector<double> gradient) {
  const Values output = batch_norm(p, moments, input, gamma, beta);
  BatchNormGradients result{Values({p.n, p.channels, p.plane}), Values({p.channels}), Values({p.channels})};
  struct Standardised {
    double value, terms;
  };
  const std::vector<double> inverse = inverse_roots(p, moments);
  const auto standardised = [&](std::size_t i, std::size_t c) -> Standardised {
    const double x = p.relu_before ? std::max(input[i], 0.0) : input[i], mean = moments[c].mean;
    return {(x - mean) * inverse[c], (std::abs(x) + std::abs(mean)) * inverse[c]};
  };
  for_channel_elements(p, [&](std::size_t c, std::size_t i) {
    if (p.relu_after && output.sum[i] <= 0) gradient[i] = 0;
    const Standardised s = standardised(i, c);
    result.gamma.sum[c] += gradient[i] * s.value;
    result.gamma.terms[c] += std::abs(gradient[i]) * s.terms;
    result.beta.add(static_cast<std::int64_t>(c), gradient[i]);
  });
  const double count = static_cast<double>(p.n * p.plane), share = batch_statistics ? 1 / count : 0;
  for_channel_elements(p, [&](std::size_t c, std::size_t i) {
    if (p.relu_before && input[i] <= 0) return;
    const Standardised s = standardised(i, c);
    const double scale = (gamma.empty() ? 1 : gamma[c]) * inverse[c];
    result.input.sum[i] =
        scale * (gradient[i] - share * (result.beta.sum[c] + s.value * result.gamma.sum[c]));
    result.input.terms[i] =
        std::abs(scale) *
        (std::abs(gradient[i]) + share * (result.beta.terms[c] + std::abs(s.value) * result.gamma.terms[c] +
                                          s.terms * std::abs(result.gamma.sum[c])));
  });
  return result;
}

}  // namespace kg::reference
