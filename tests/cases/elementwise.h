// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <numbers>
#include <string>

#include "cases/count.h"
#include "kernelgrad/ops.h"

namespace kg::cases {

/// A function of one element: the formula in double precision, between which arguments the gradient is
/// checked, and where inside them it has a kink.
struct Unary {
  const char* name;
  Tensor (*function)(const Tensor&);
  double (*formula)(double);
  double from = -4, to = 4;
};

inline const Unary unary[] = {
    {"relu", relu, [](double x) { return std::fmax(x, 0); }},
    {"leaky_relu", [](const Tensor& x) { return leaky_relu(x, 0.2); },
     [](double x) { return std::fmax(x, 0.2 * x); }},
    {"elu", [](const Tensor& x) { return elu(x, 1.5); },
     [](double x) { return x > 0 ? x : 1.5 * (std::exp(x) - 1); }},
    {"sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"tanh", kg::tanh, [](double x) { return 1 - 2 / (std::exp(2 * x) + 1); }, -2, 2},
    {"softplus", [](const Tensor& x) { return softplus(x, {.beta = 2, .threshold = 6}); },
     [](double x) { return 2 * x > 6 ? x : std::log(1 + std::exp(2 * x)) / 2; }},
    {"gelu", gelu, [](double x) { return x * std::erfc(-x / std::numbers::sqrt2) / 2; }},
    {"silu", silu, [](double x) { return x / (1 + std::exp(-x)); }},
    {"hardswish", hardswish, [](double x) { return x * std::fmin(std::fmax(x + 3, 0), 6) / 6; }},
    {"exp", kg::exp, [](double x) { return std::pow(std::numbers::e, x); }},
    {"log", kg::log, [](double x) { return std::log2(x) * std::numbers::ln2; }, 0.1, 4},
    {"sqrt", kg::sqrt, [](double x) { return std::hypot(std::pow(x, 0.5), 0); }, 0.1, 4},
    {"square", square, [](double x) { return x * x; }},
    {"abs", kg::abs, [](double x) { return std::fabs(x); }},
    {"neg", [](const Tensor& x) { return -x; }, [](double x) { return 0 - x; }},
    {"pow", [](const Tensor& x) { return kg::pow(x, 3); }, [](double x) { return x * x * x; }},
    {"clamp", [](const Tensor& x) { return clamp(x, {.min = -1, .max = 3}); },
     [](double x) { return std::fmin(std::fmax(x, -1), 3); }},
    {"add", [](const Tensor& x) { return 2.5 + x; }, [](double x) { return x + 2.5; }},
    {"sub", [](const Tensor& x) { return x - 2.5; }, [](double x) { return x - 2.5; }},
    {"rsub", [](const Tensor& x) { return 2.5 - x; }, [](double x) { return 2.5 - x; }},
    {"mul", [](const Tensor& x) { return x * 2.5; }, [](double x) { return 2.5 * x; }},
    {"div", [](const Tensor& x) { return x / 2.5; }, [](double x) { return x / 2.5; }},
    {"rdiv", [](const Tensor& x) { return 2.5 / x; }, [](double x) { return 2.5 / x; }, 0.3, 4},
};

/// A function of two elements, between arguments of which the second is positive.
struct Binary {
  const char* name;
  Tensor (*function)(const Tensor&, const Tensor&);
  double (*formula)(double, double);
};

inline const Binary binary[] = {
    {"add", add, [](double a, double b) { return a + b; }},
    {"sub", sub, [](double a, double b) { return a - b; }},
    {"mul", mul, [](double a, double b) { return a * b; }},
    {"div", div, [](double a, double b) { return a / b; }},
    {"maximum", maximum, [](double a, double b) { return std::fmax(a, b); }},
    {"minimum", minimum, [](double a, double b) { return std::fmin(a, b); }},
};

/// Two operands of a function of two elements.
struct Operands {
  Shape a, b;
};

inline const Operands elementwise[] = {
    {{1}, {1}},
    {{}, {}},
    {{7}, {7}},
    {{3, 5}, {3, 5}},
    // Broadcast: a scalar, a row, a column, both ways, missing dimensions, the middle.
    {{7}, {}},
    {{}, {3, 1}},
    {{3, 5}, {5}},
    {{3, 5}, {3, 1}},
    {{3, 1}, {1, 5}},
    {{4}, {3, 1}},
    {{2, 3, 4}, {2, 1, 4}},
    {{2, 1, 4, 1}, {3, 1, 5}},
    {{1, 1, 1}, {31}},
    {{2, 3, 4, 5}, {3, 1, 1}},
    {{1, 2, 1, 2, 1, 2, 1, 2}, {2, 1, 2, 1, 2, 1, 2, 1}},
};

/// For fill, accumulate and the functions of one element. The last is several tasks.
inline constexpr Count elementwise_counts[] = {{0}, {1}, {7}, {31}, {33}, {65}, {1000}, {50'001}};

/// Several tasks.
inline const Operands elementwise_large[] = {
    {{33, 31, 65}, {33, 31, 65}},
    {{33, 31, 65}, {31, 1}},
};

inline std::string describe(const Operands& p) { return to_string(p.a) + " and " + to_string(p.b); }

}  // namespace kg::cases
