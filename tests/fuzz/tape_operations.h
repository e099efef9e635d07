// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "fuzz/tape.h"
#include "reference/conv2d.h"
#include "reference/elementwise.h"
#include "reference/pool2d.h"

/// The operations of ops.h on a Tape, written down from their formulas: what is valid goes in, row by row,
/// and the elements of the result come out.
namespace kg::fuzz {

using Index = Tape::Index;
using Indices = std::vector<Index>;

/// No gradient is recorded while one lives.
class Unrecorded {
 public:
  explicit Unrecorded(Tape& tape) : tape_(tape), previous_(tape.is_recording()) { tape.set_recording(false); }
  ~Unrecorded() { tape_.set_recording(previous_); }
  Unrecorded(const Unrecorded&) = delete;
  Unrecorded& operator=(const Unrecorded&) = delete;

 private:
  Tape& tape_;
  bool previous_;
};

inline std::size_t position(std::int64_t index) { return static_cast<std::size_t>(index); }

/// The sum of some numbers, each times the factor.
inline Index sum_of(Tape& tape, const Indices& terms, double factor = 1) {
  Tape::Sum sum(tape);
  for (const Index i : terms) sum.add(i, factor);
  return sum.done();
}

inline Index relu(Tape& tape, Index x) {
  const Index zero = tape.constant(0);
  return tape.maximum(std::vector{zero, x});
}

/// f(element) of each.
template <class Elements, class F>
Indices each(const Elements& x, const F& f) {
  Indices result;
  for (const auto& i : x) result.push_back(f(i));
  return result;
}

/// Which of `inputs` are the terms of each of `outputs`.
struct Terms {
  std::vector<Indices> of;

  explicit Terms(std::int64_t outputs) : of(position(outputs)) {}
  void add(std::int64_t output, Index input) { of[position(output)].push_back(input); }
};

/// A weight that may be infinite or NaN makes NaN of the zeros around the input, if the library multiplies
/// them.
inline bool may_spoil_zeros(Tape& tape, std::span<const Index> weights) {
  return std::ranges::any_of(weights, [&](Index w) { return !std::isfinite(tape[w].error); });
}

inline Indices conv2d(Tape& tape, const kernels::Conv2dProblem& p, const Indices& input,
                      const Indices& weight, const Indices& bias) {
  const std::int64_t pixels = p.out_h() * p.out_w(), outputs = p.n * p.c_out * pixels;
  Terms inputs(outputs), weights(outputs);
  reference::for_conv2d_terms(p, [&](std::int64_t out, std::int64_t in, std::int64_t w) {
    inputs.add(out, input[position(in)]);
    weights.add(out, weight[position(w)]);
  });
  Indices result;
  for (std::int64_t out = 0; out < outputs; ++out) {
    Tape::Sum sum(tape);
    const Indices &x = inputs.of[position(out)], &w = weights.of[position(out)];
    for (std::size_t i = 0; i < x.size(); ++i) sum.add_product(x[i], w[i]);
    const std::int64_t channel = out / pixels % p.c_out;
    const std::size_t taps = weight.size() / position(p.c_out);
    if (x.size() < taps && may_spoil_zeros(tape, std::span(weight).subspan(position(channel) * taps, taps)))
      sum.add_unknown();
    if (!bias.empty()) sum.add(bias[position(channel)]);
    result.push_back(sum.done());
  }
  return result;
}

/// The transpose of the convolution that `p` is: from what that makes to what it is made of. The bias is one
/// for each channel of the latter.
inline Indices conv_transpose2d(Tape& tape, const kernels::Conv2dProblem& p, const Indices& input,
                                const Indices& weight, const Indices& bias) {
  const std::int64_t pixels = p.h * p.w, outputs = p.n * p.c_in * pixels;
  Terms inputs(outputs), weights(outputs);
  if (!input.empty())
    reference::for_conv2d_terms(p, [&](std::int64_t in, std::int64_t out, std::int64_t w) {
      inputs.add(out, input[position(in)]);
      weights.add(out, weight[position(w)]);
    });
  const bool spoils = may_spoil_zeros(tape, weight) || may_spoil_zeros(tape, input);
  Indices result;
  for (std::int64_t out = 0; out < outputs; ++out) {
    Tape::Sum sum(tape);
    const Indices &x = inputs.of[position(out)], &w = weights.of[position(out)];
    for (std::size_t i = 0; i < x.size(); ++i) sum.add_product(x[i], w[i]);
    if (spoils) sum.add_unknown();
    const Index products = sum.done();
    result.push_back(bias.empty() ? products
                                  : sum_of(tape, {products, bias[position(out / pixels % p.c_in)]}));
  }
  return result;
}

/// input [rows, in_features] by weight [out_features, in_features].
inline Indices linear(Tape& tape, std::int64_t rows, std::int64_t in_features, std::int64_t out_features,
                      const Indices& input, const Indices& weight, const Indices& bias) {
  Indices result;
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t o = 0; o < out_features; ++o) {
      Tape::Sum sum(tape);
      for (std::int64_t i = 0; i < in_features; ++i)
        sum.add_product(input[position(r * in_features + i)], weight[position(o * in_features + i)]);
      if (!bias.empty()) sum.add(bias[position(o)]);
      result.push_back(sum.done());
    }
  return result;
}

/// The pixels of each window.
inline Terms windows(const kernels::Pool2dProblem& p, const Indices& x) {
  Terms terms(p.planes * p.out_h() * p.out_w());
  reference::for_pool2d_pairs(p, [&](std::int64_t out, std::int64_t in) { terms.add(out, x[position(in)]); });
  return terms;
}

inline Indices max_pool2d(Tape& tape, const kernels::Pool2dProblem& p, const Indices& x) {
  Indices result;
  for (const Indices& window : windows(p, x).of) result.push_back(tape.maximum(window));
  return result;
}

inline Indices avg_pool2d(Tape& tape, const kernels::Pool2dProblem& p, bool count_include_pad,
                          const Indices& x) {
  Indices result;
  for (const Indices& window : windows(p, x).of) {
    const double divisor = count_include_pad ? static_cast<double>(p.k_h) * static_cast<double>(p.k_w)
                                             : static_cast<double>(window.size());
    result.push_back(sum_of(tape, window, 1 / divisor));
  }
  return result;
}

/// Along the rows of x [rows, classes].
inline Indices log_softmax(Tape& tape, std::int64_t classes, const Indices& x) {
  Indices result;
  for (std::size_t row = 0; row < x.size(); row += position(classes)) {
    const Indices elements(x.begin() + static_cast<std::ptrdiff_t>(row),
                           x.begin() + static_cast<std::ptrdiff_t>(row) + classes);
    // A shift of all elements changes nothing: it has no gradient.
    const Index shift = [&] {
      const Unrecorded unrecorded(tape);
      const Index largest = tape.maximum(elements);
      Tape::Sum minus(tape);
      minus.add(largest, -1);
      return minus.done();
    }();
    const Indices shifted = each(elements, [&](Index i) { return sum_of(tape, {i, shift}); });
    const auto exp = [](double v) { return std::exp(v); };
    const Index sum = sum_of(tape, each(shifted, [&](Index i) { return tape.function(i, exp, exp); }));
    // At least one of the terms of the sum is 1.
    const Index log_sum = tape.function(
        sum, [](double v) { return std::log(v); }, [](double v) { return 1 / v; }, 1);
    for (const Index i : shifted) {
      Tape::Sum difference(tape);
      difference.add(i);
      difference.add(log_sum, -1);
      result.push_back(difference.done());
    }
  }
  return result;
}

inline Index nll_loss(Tape& tape, std::int64_t classes, double scale, const Indices& log_probabilities,
                      const std::vector<std::int64_t>& labels) {
  Tape::Sum sum(tape);
  for (std::size_t r = 0; r < labels.size(); ++r)
    sum.add(log_probabilities[r * position(classes) + position(labels[r])], -scale);
  return sum.done();
}

/// function(element of a, element of b) of both, broadcast to `shape`.
template <class Function>
Indices combined(const Function& function, const std::vector<std::int64_t>& shape,
                 const std::vector<std::int64_t>& a_shape, const Indices& a,
                 const std::vector<std::int64_t>& b_shape, const Indices& b) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  Indices result;
  for (std::int64_t i = 0; i < count; ++i)
    result.push_back(function(a[position(reference::broadcast_index(i, shape, a_shape))],
                              b[position(reference::broadcast_index(i, shape, b_shape))]));
  return result;
}

struct BatchNorm {
  std::int64_t channels, plane;
  bool training, relu_before, relu_after;
  double momentum, epsilon;
};

/// Of every channel; there may be none.
struct Moments {
  Indices mean, variance;
};

/// Adds the mean and the biased variance of the values.
inline void add_moments(Tape& tape, const Indices& values, Moments& moments) {
  const double share = 1 / static_cast<double>(values.size());
  const Index mean = sum_of(tape, values, share);
  Tape::Sum squares(tape);
  const Indices deviations = each(values, [&](Index i) {
    Tape::Sum deviation(tape);
    deviation.add(i);
    deviation.add(mean, -1);
    return deviation.done();
  });
  for (const Index d : deviations) squares.add_product(d, d, share);
  moments.mean.push_back(mean);
  moments.variance.push_back(squares.done());
}

/// The running statistics after a batch of `count` values per channel with these moments.
inline Moments moved(Tape& tape, const Moments& running, const Moments& batch, double momentum,
                     double count) {
  const Unrecorded unrecorded(tape);
  const auto move = [&](Index old, Index value, double factor) {
    Tape::Sum sum(tape);
    sum.add(old, 1 - momentum);
    sum.add(value, momentum * factor);
    return sum.done();
  };
  Moments result;
  for (std::size_t c = 0; c < running.mean.size(); ++c) {
    result.mean.push_back(move(running.mean[c], batch.mean[c], 1));
    result.variance.push_back(move(running.variance[c], batch.variance[c], count / (count - 1)));
  }
  return result;
}

/// Without dropout. `running` is moved in training; gamma and beta may be empty.
inline Indices batch_norm(Tape& tape, const BatchNorm& p, const Indices& input, const Indices& gamma,
                          const Indices& beta, Moments& running) {
  const auto channel_of = [&](std::size_t i) { return i / position(p.plane) % position(p.channels); };
  const Indices x = p.relu_before ? each(input, [&](Index i) { return relu(tape, i); }) : input;
  std::vector<Indices> values(position(p.channels));
  for (std::size_t i = 0; i < x.size(); ++i) values[channel_of(i)].push_back(x[i]);
  Moments batch;
  for (const Indices& channel : values)
    if (p.training) add_moments(tape, channel, batch);
  const Moments& moments = p.training ? batch : running;

  const auto inverse_root = [&](double v) { return 1 / std::sqrt(v + p.epsilon); };
  const auto derivative = [&](double v) { return -0.5 * std::pow(v + p.epsilon, -1.5); };
  const Indices inverse =
      each(moments.variance, [&](Index v) { return tape.function(v, inverse_root, derivative, 0); });
  Indices result;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = channel_of(i);
    Tape::Sum deviation(tape), normalized(tape), output(tape);
    deviation.add(x[i]);
    deviation.add(moments.mean[c], -1);
    normalized.add_product(deviation.done(), inverse[c]);
    const Index n = normalized.done();
    gamma.empty() ? output.add(n) : output.add_product(gamma[c], n);
    if (!beta.empty()) output.add(beta[c]);
    // The mean may be taken off at the end: x * scale + (beta - mean * scale).
    const double scale =
        (gamma.empty() ? 1 : tape[gamma[c]].value) * (tape[inverse[c]].value + tape[inverse[c]].error);
    output.add_cancelling(tape[x[i]].value * scale);
    output.add_cancelling(tape[moments.mean[c]].value * scale);
    const Index y = output.done();
    result.push_back(p.relu_after ? relu(tape, y) : y);
  }
  if (p.training && !running.mean.empty())
    running = moved(tape, running, batch, p.momentum, static_cast<double>(values[0].size()));
  return result;
}

}  // namespace kg::fuzz
