// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "fuzz/tape.h"
#include "fuzz/tape_operations.h"
#include "kernels/elementwise_functions.h"

/// The functions of kernels/elementwise_functions.h on a Tape, written down from the formulas of ops.h. Each
/// is an overload for the function's type, which the parameters come in: of one that is not here, a program
/// that visits the list of functions is not compiled.
namespace kg::fuzz {

/// 0, or infinity where a computation in the library's type does not get as far, or has no number to begin
/// with: then nothing is known of its result.
inline double unless_beyond(const Tape& tape, std::initializer_list<double> intermediates) {
  const bool all_within = std::ranges::all_of(
      intermediates, [&](double value) { return std::abs(value) < tape.precision().largest; });
  return all_within ? 0 : unknown;
}

inline Index function_of(Tape& tape, const kernels::Relu&, Index x) { return relu(tape, x); }

inline Index function_of(Tape& tape, const kernels::LeakyRelu& f, Index x) {
  const double v = tape[x].value, slope = f.negative_slope, known = unless_beyond(tape, {slope});
  return tape.function(
      x, [=](double z) { return z > 0 ? z : slope * z; }, [=](double z) { return z > 0 ? 1 : slope; }, {0},
      {std::abs(v) * (1 + std::abs(slope)) + known, std::abs(slope) + known});
}

inline Index function_of(Tape& tape, const kernels::Elu& f, Index x) {
  const double v = tape[x].value, alpha = f.alpha, known = unless_beyond(tape, {alpha});
  const auto formula = [=](double z) { return z > 0 ? z : alpha * std::expm1(z); };
  const auto derivative = [=](double z) { return z > 0 ? 1 : alpha * std::exp(z); };
  return tape.function(x, formula, derivative, {0},
                       {std::abs(formula(v)) + known, std::abs(derivative(v)) * (1 + std::abs(v)) + known});
}

inline double sigmoid_of(double z) { return 1 / (1 + std::exp(-z)); }

inline Index function_of(Tape& tape, const kernels::Sigmoid&, Index x) {
  return tape.function(x, sigmoid_of, [](double z) { return sigmoid_of(z) * sigmoid_of(-z); }, {0}, {1, 1});
}

inline Index function_of(Tape& tape, const kernels::Tanh&, Index x) {
  return tape.function(
      x, [](double z) { return std::tanh(z); }, [](double z) { return 1 - std::tanh(z) * std::tanh(z); }, {0},
      {std::abs(std::tanh(tape[x].value)), 1});
}

inline Index function_of(Tape& tape, const kernels::Softplus& f, Index x) {
  const double v = tape[x].value, beta = f.beta, threshold = f.threshold, scaled = beta * v;
  const auto formula = [=](double z) {
    return beta * z > threshold ? z : std::log1p(std::exp(beta * z)) / beta;
  };
  const auto derivative = [=](double z) { return beta * z > threshold ? 1 : sigmoid_of(beta * z); };
  double known = unless_beyond(tape, {beta, scaled, 1 / beta});
  // What may lie on either side of the threshold jumps there.
  const double near = 4 * tape.precision().unit * (std::abs(scaled) + std::abs(threshold));
  if (!(std::abs(scaled - threshold) > near + std::abs(beta) * tape[x].error)) known = unknown;
  if (scaled <= threshold) known += unless_beyond(tape, {std::exp(scaled)});
  return tape.function(
      x, formula, derivative, {},
      {std::abs(formula(v)) + std::abs(v) + known, std::abs(derivative(v)) * (1 + std::abs(scaled)) + known});
}

inline Index function_of(Tape& tape, const kernels::Gelu&, Index x) {
  const double v = tape[x].value;
  const auto distribution = [](double z) { return std::erfc(-z / std::numbers::sqrt2) / 2; };
  const auto density = [](double z) {
    return std::exp(-z * z / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
  };
  // The least value is at -0.7518; the derivative turns at both roots of 2.
  return tape.function(
      x, [=](double z) { return z * distribution(z); },
      [=](double z) { return distribution(z) + z * density(z); },
      {-std::numbers::sqrt2, -0.75179152469, std::numbers::sqrt2},
      {std::abs(v), 1 + std::abs(v) * (1 + v * v) * density(v) + unless_beyond(tape, {v * v})});
}

inline Index function_of(Tape& tape, const kernels::Silu&, Index x) {
  const double v = tape[x].value, s = sigmoid_of(v);
  // The least value is at -1.2785, the derivative turns at 2.3994 on either side.
  return tape.function(
      x, [](double z) { return z * sigmoid_of(z); },
      [](double z) { return sigmoid_of(z) * (1 + z * sigmoid_of(-z)); },
      {-2.39935728054, -1.27846454276, 2.39935728054},
      {std::abs(v), s * (1 + std::abs(v)) + std::abs(v) / tape.precision().largest});
}

inline Index function_of(Tape& tape, const kernels::Hardswish&, Index x) {
  const double v = tape[x].value, known = unless_beyond(tape, {6 * v});
  return tape.function(
      x, [](double z) { return z * std::clamp(z + 3, 0.0, 6.0) / 6; },
      [](double z) { return z < -3   ? 0
                            : z >= 3 ? 1
                                     : z / 3 + 0.5; }, {-3, -1.5, 3},
      {std::abs(v) + known, 1 + known});
}

inline Index function_of(Tape& tape, const kernels::Exp&, Index x) {
  const auto exp = [](double z) { return std::exp(z); };
  const double size = exp(tape[x].value);
  return tape.function(x, exp, exp, {}, {size, size});
}

inline Index function_of(Tape& tape, const kernels::Log&, Index x) {
  const double v = tape[x].value;
  return tape.function(
      x, [](double z) { return std::log(z); }, [](double z) { return 1 / z; }, {0},
      {std::abs(std::log(v)), std::abs(1 / v)});
}

inline Index function_of(Tape& tape, const kernels::Sqrt&, Index x) {
  const double root = std::sqrt(tape[x].value);
  return tape.function(
      x, [](double z) { return std::sqrt(z); }, [](double z) { return 0.5 / std::sqrt(z); }, {},
      {root, 1 / root});
}

inline Index function_of(Tape& tape, const kernels::Square&, Index x) {
  const double v = tape[x].value;
  return tape.function(
      x, [](double z) { return z * z; }, [](double z) { return 2 * z; }, {0}, {v * v, std::abs(v)});
}

inline Index function_of(Tape& tape, const kernels::Abs&, Index x) {
  return tape.function(
      x, [](double z) { return std::abs(z); }, [](double z) { return z > 0   ? 1
                                                                     : z < 0 ? -1
                                                                             : 0; }, {0},
      {0, 0});
}

inline Index function_of(Tape& tape, const kernels::Neg&, Index x) { return sum_of(tape, {x}, -1); }

inline Index function_of(Tape& tape, const kernels::Pow& f, Index x) {
  const double v = tape[x].value, exponent = f.exponent, known = unless_beyond(tape, {exponent});
  const auto formula = [=](double z) { return std::pow(z, exponent); };
  const auto derivative = [=](double z) { return exponent == 0 ? 0 : exponent * std::pow(z, exponent - 1); };
  const auto size = [=](double value) {
    return value == 0 ? 0
                      : std::abs(value) * (1 + (1 + std::abs(exponent)) * std::abs(std::log(std::abs(v))));
  };
  return tape.function(x, formula, derivative, {0}, {size(formula(v)) + known, size(derivative(v)) + known});
}

inline Index function_of(Tape& tape, const kernels::Clamp& f, Index x) {
  const double least = f.min, most = f.max;
  const double known = std::isnan(least) || std::isnan(most) ? unknown : 0;
  return tape.function(
      x, [=](double z) { return std::min(std::max(z, least), most); },
      [=](double z) { return z >= least && z <= most ? 1 : 0; }, {least, most}, {known, known});
}

inline Index function_of(Tape& tape, const kernels::AddNumber& f, Index x) {
  return sum_of(tape, {x, tape.constant(f.number)});
}

inline Index difference_of(Tape& tape, Index x, Index y) {
  Tape::Sum difference(tape);
  difference.add(x);
  difference.add(y, -1);
  return difference.done();
}
inline Index function_of(Tape& tape, const kernels::SubtractNumber& f, Index x) {
  return difference_of(tape, x, tape.constant(f.number));
}
inline Index function_of(Tape& tape, const kernels::SubtractFrom& f, Index x) {
  return difference_of(tape, tape.constant(f.number), x);
}

inline Index product_of(Tape& tape, Index x, Index y) {
  Tape::Sum product(tape);
  product.add_product(x, y);
  return product.done();
}
inline Index function_of(Tape& tape, const kernels::MultiplyBy& f, Index x) {
  return sum_of(tape, {x}, f.number);
}
inline Index function_of(Tape& tape, const kernels::DivideBy& f, Index x) {
  return tape.quotient(x, tape.constant(f.number));
}
inline Index function_of(Tape& tape, const kernels::DivideInto& f, Index x) {
  return tape.quotient(tape.constant(f.number), x);
}

// Of two elements.

inline Index function_of(Tape& tape, const kernels::Add&, Index x, Index y) { return sum_of(tape, {x, y}); }
inline Index function_of(Tape& tape, const kernels::Sub&, Index x, Index y) {
  return difference_of(tape, x, y);
}
inline Index function_of(Tape& tape, const kernels::Mul&, Index x, Index y) { return product_of(tape, x, y); }
inline Index function_of(Tape& tape, const kernels::Div&, Index x, Index y) { return tape.quotient(x, y); }
inline Index function_of(Tape& tape, const kernels::Maximum&, Index x, Index y) {
  return tape.extreme(true, x, y);
}
inline Index function_of(Tape& tape, const kernels::Minimum&, Index x, Index y) {
  return tape.extreme(false, x, y);
}

}  // namespace kg::fuzz
