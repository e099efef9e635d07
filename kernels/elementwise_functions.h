// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <numbers>
#include <variant>

#include "kernelgrad/host_device.h"

/// The element-wise operations: what each makes of an element, and what of its gradient. A function is one
/// struct, and its place in the list at the end, which the kernels of both backends, the tests and the
/// benchmarks go through. Formulas are those of PyTorch's function of that name, NaN included; so that a
/// gradient of 0 is 0 whatever the gradient that comes in, they give gradients and no derivatives.
namespace kg::kernels {

/// What gradient() of a function of one element reads as `saved`, besides the gradient of the result: the
/// argument, the result, or nothing (then it is not touched).
enum class Saves { input, output, nothing };

struct Relu {
  static constexpr const char* name = "relu";
  static constexpr Saves saves = Saves::output;
  // Written so that NaN, which is not below 0, passes, and so does its gradient.
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return x < T(0) ? T(0) : x;
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T y) const {
    return y <= T(0) ? T(0) : grad_output;
  }
};

struct LeakyRelu {
  static constexpr const char* name = "leaky_relu";
  static constexpr Saves saves = Saves::input;
  double negative_slope = 0.01;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return x > T(0) ? x : x * static_cast<T>(negative_slope);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    return x > T(0) ? grad_output : grad_output * static_cast<T>(negative_slope);
  }
};

struct Elu {
  static constexpr const char* name = "elu";
  static constexpr Saves saves = Saves::input;
  double alpha = 1;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return x > T(0) ? x : static_cast<T>(alpha) * std::expm1(x);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    return x > T(0) ? grad_output : grad_output * static_cast<T>(alpha) * std::exp(x);
  }
};

struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  static constexpr Saves saves = Saves::output;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return T(1) / (T(1) + std::exp(-x));
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T y) const {
    return grad_output * (T(1) - y) * y;
  }
};

struct Tanh {
  static constexpr const char* name = "tanh";
  static constexpr Saves saves = Saves::output;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return std::tanh(x);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T y) const {
    return grad_output * (T(1) - y * y);
  }
};

struct Softplus {
  static constexpr const char* name = "softplus";
  static constexpr Saves saves = Saves::input;
  double beta = 1, threshold = 20;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    const T scaled = x * static_cast<T>(beta);
    return scaled > static_cast<T>(threshold) ? x : std::log1p(std::exp(scaled)) / static_cast<T>(beta);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    const T scaled = x * static_cast<T>(beta);
    if (scaled > static_cast<T>(threshold)) return grad_output;
    const T z = std::exp(scaled);
    return grad_output * z / (z + T(1));
  }
};

/// x times the standard normal distribution function (Hendrycks & Gimpel, 2016).
struct Gelu {
  static constexpr const char* name = "gelu";
  static constexpr Saves saves = Saves::input;
  template <class T>
  KG_HOST_DEVICE static T distribution(T x) {
    return T(0.5) * (T(1) + std::erf(x * static_cast<T>(1 / std::numbers::sqrt2)));
  }
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return x * distribution(x);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    constexpr T peak = static_cast<T>(std::numbers::inv_sqrtpi / std::numbers::sqrt2);
    return grad_output * (distribution(x) + x * peak * std::exp(T(-0.5) * x * x));
  }
};

/// x * sigmoid(x).
struct Silu {
  static constexpr const char* name = "silu";
  static constexpr Saves saves = Saves::input;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return x / (T(1) + std::exp(-x));
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    const T s = Sigmoid()(x);
    return grad_output * s * (T(1) + x * (T(1) - s));
  }
};

/// x * min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).
struct Hardswish {
  static constexpr const char* name = "hardswish";
  static constexpr Saves saves = Saves::input;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    const T raised = x + T(3), kept = raised < T(0) ? T(0) : raised;
    return x * (kept > T(6) ? T(6) : kept) / T(6);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    if (x < T(-3)) return T(0);
    return x >= T(3) ? grad_output : grad_output * (x / T(3) + T(0.5));
  }
};

struct Exp {
  static constexpr const char* name = "exp";
  static constexpr Saves saves = Saves::output;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return std::exp(x);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T y) const {
    return grad_output * y;
  }
};

struct Log {
  static constexpr const char* name = "log";
  static constexpr Saves saves = Saves::input;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return std::log(x);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    return grad_output / x;
  }
};

struct Sqrt {
  static constexpr const char* name = "sqrt";
  static constexpr Saves saves = Saves::output;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return std::sqrt(x);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T y) const {
    return grad_output / (T(2) * y);
  }
};

struct Square {
  static constexpr const char* name = "square";
  static constexpr Saves saves = Saves::input;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return x * x;
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    return grad_output * (T(2) * x);
  }
};

struct Abs {
  static constexpr const char* name = "abs";
  static constexpr Saves saves = Saves::input;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return std::abs(x);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    return grad_output * static_cast<T>((x > T(0)) - (x < T(0)));
  }
};

struct Neg {
  static constexpr const char* name = "neg";
  static constexpr Saves saves = Saves::nothing;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return -x;
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T) const {
    return -grad_output;
  }
};

struct Pow {
  static constexpr const char* name = "pow";
  static constexpr Saves saves = Saves::input;
  double exponent = 2;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return std::pow(x, static_cast<T>(exponent));
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    if (exponent == 0) return T(0);
    return grad_output * (static_cast<T>(exponent) * std::pow(x, static_cast<T>(exponent - 1)));
  }
};

struct Clamp {
  static constexpr const char* name = "clamp";
  static constexpr Saves saves = Saves::input;
  double min = -1, max = 1;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    const T raised = x < static_cast<T>(min) ? static_cast<T>(min) : x;
    return raised > static_cast<T>(max) ? static_cast<T>(max) : raised;
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    return x >= static_cast<T>(min) && x <= static_cast<T>(max) ? grad_output : T(0);
  }
};

/// Functions of two elements have two gradients. Where one is the gradient that comes in, unchanged, no
/// kernel runs for it: passes_first and passes_second say so. saves_first and saves_second say whether an
/// operand is read for the gradients that are wanted, of the first and of the second.
struct Add {
  static constexpr const char* name = "add";
  static constexpr bool passes_first = true, passes_second = true;
  static constexpr bool saves_first(bool, bool) { return false; }
  static constexpr bool saves_second(bool, bool) { return false; }
  template <class T>
  KG_HOST_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_first(T grad_output, T, T) const {
    return grad_output;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_second(T grad_output, T, T) const {
    return grad_output;
  }
};

struct Sub {
  static constexpr const char* name = "sub";
  static constexpr bool passes_first = true, passes_second = false;
  static constexpr bool saves_first(bool, bool) { return false; }
  static constexpr bool saves_second(bool, bool) { return false; }
  template <class T>
  KG_HOST_DEVICE T operator()(T a, T b) const {
    return a - b;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_first(T grad_output, T, T) const {
    return grad_output;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_second(T grad_output, T, T) const {
    return -grad_output;
  }
};

struct Mul {
  static constexpr const char* name = "mul";
  static constexpr bool passes_first = false, passes_second = false;
  static constexpr bool saves_first(bool, bool second) { return second; }
  static constexpr bool saves_second(bool first, bool) { return first; }
  template <class T>
  KG_HOST_DEVICE T operator()(T a, T b) const {
    return a * b;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_first(T grad_output, T, T b) const {
    return grad_output * b;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_second(T grad_output, T a, T) const {
    return grad_output * a;
  }
};

struct Div {
  static constexpr const char* name = "div";
  static constexpr bool passes_first = false, passes_second = false;
  static constexpr bool saves_first(bool, bool second) { return second; }
  static constexpr bool saves_second(bool first, bool second) { return first || second; }
  template <class T>
  KG_HOST_DEVICE T operator()(T a, T b) const {
    return a / b;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_first(T grad_output, T, T b) const {
    return grad_output / b;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_second(T grad_output, T a, T b) const {
    return -grad_output * ((a / b) / b);
  }
};

/// The larger of two, or the smaller; of equals each gets half of the gradient, beside NaN both get all.
template <bool larger>
struct Extreme {
  static constexpr const char* name = larger ? "maximum" : "minimum";
  static constexpr bool passes_first = false, passes_second = false;
  static constexpr bool saves_first(bool first, bool second) { return first || second; }
  static constexpr bool saves_second(bool first, bool second) { return first || second; }
  template <class T>
  KG_HOST_DEVICE T operator()(T a, T b) const {
    return (larger ? a > b : a < b) || a != a ? a : b;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_first(T grad_output, T a, T b) const {
    if (larger ? a < b : a > b) return T(0);
    return a == b ? grad_output / T(2) : grad_output;
  }
  template <class T>
  KG_HOST_DEVICE T gradient_second(T grad_output, T a, T b) const {
    return gradient_first(grad_output, b, a);
  }
};
using Maximum = Extreme<true>;
using Minimum = Extreme<false>;

/// A function of two elements with a number in the place of one: x - number, or number - x.
template <class Function, bool number_first>
struct WithNumber {
  static constexpr const char* name = Function::name;
  static constexpr Saves saves = Saves::nothing;
  static_assert(!(number_first ? Function::saves_second(false, true) : Function::saves_first(true, false)));
  double number = 1;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    const T y = static_cast<T>(number);
    return number_first ? Function()(y, x) : Function()(x, y);
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    const T y = static_cast<T>(number);
    return number_first ? Function().gradient_second(grad_output, y, x)
                        : Function().gradient_first(grad_output, x, y);
  }
};
using AddNumber = WithNumber<Add, false>;
using SubtractNumber = WithNumber<Sub, false>;
using SubtractFrom = WithNumber<Sub, true>;
using MultiplyBy = WithNumber<Mul, true>;
using DivideBy = WithNumber<Div, false>;

/// number / x. The gradient is rounded otherwise than Div's, so this is no WithNumber.
struct DivideInto {
  static constexpr const char* name = "div";
  static constexpr Saves saves = Saves::input;
  double number = 1;
  template <class T>
  KG_HOST_DEVICE T operator()(T x) const {
    return static_cast<T>(number) / x;
  }
  template <class T>
  KG_HOST_DEVICE T gradient(T grad_output, T x) const {
    return -grad_output * (static_cast<T>(number) / x) / x;
  }
};

/// Every function of one element.
using UnaryFunction = std::variant<Relu, LeakyRelu, Elu, Sigmoid, Tanh, Softplus, Gelu, Silu, Hardswish, Exp,
                                   Log, Sqrt, Square, Abs, Neg, Pow, Clamp, AddNumber, SubtractNumber,
                                   SubtractFrom, MultiplyBy, DivideBy, DivideInto>;

/// Every function of two elements.
using BinaryFunction = std::variant<Add, Sub, Mul, Div, Maximum, Minimum>;

}  // namespace kg::kernels
