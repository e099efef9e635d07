// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>

#include "kernelgrad/host_device.h"

/// What each optimizer does with one element in one step: the same text for both devices. A rule is made for
/// a step, counted from 1, out of the optimizer's constants and what a schedule changes. Called with an
/// element w, its gradient g and what is kept of it from step to step (zeros in the first; null where nothing
/// is), it updates w and that.
namespace kg::training {

using unfused::product;
using unfused::sum;

/// What a schedule changes.
struct Rates {
  double learning_rate, momentum;
};

/// What stays the same from step to step of Sgd.
struct SgdConstants {
  double dampening, weight_decay;
  bool nesterov;
};

/// torch.optim.SGD: the comment of Sgd has the formula. Keeps the velocity.
template <class T>
struct SgdRule {
  using Value = T;
  static constexpr int kept_values = 1;
  using Constants = SgdConstants;

  T rate, momentum, kept_part, decay;
  bool nesterov, first;

  KG_HOST_DEVICE SgdRule(const Constants& constants, const Rates& rates, std::int64_t step)
      : rate(static_cast<T>(rates.learning_rate)),
        momentum(static_cast<T>(rates.momentum)),
        kept_part(static_cast<T>(1 - constants.dampening)),
        decay(static_cast<T>(constants.weight_decay)),
        nesterov(constants.nesterov),
        first(step == 1) {}

  KG_HOST_DEVICE void operator()(T& w, T g, T* kept) const {
    const T slope = sum(g, product(decay, w));
    T move = slope;
    if (kept) {
      T& v = kept[0];
      v = first ? slope : sum(product(momentum, v), product(kept_part, slope));
      move = nesterov ? sum(slope, product(momentum, v)) : v;
    }
    w = sum(w, -product(rate, move));
  }
};

/// base to the power of n >= 0, the same bits on both devices, as std::pow() need not give.
KG_HOST_DEVICE inline double power(double base, std::int64_t n) {
  double result = 1;
  for (; n > 0; n /= 2) {
    if (n % 2 == 1) result = product(result, base);
    base = product(base, base);
  }
  return result;
}

/// The same of Adam.
struct AdamConstants {
  double beta2, epsilon, weight_decay;
  bool decoupled;  ///< the weight decay is AdamW's
};

/// torch.optim.Adam and AdamW: the comment of Adam has the formulas. Keeps the means of g and of g * g.
template <class T>
struct AdamRule {
  using Value = T;
  static constexpr int kept_values = 2;
  using Constants = AdamConstants;

  T beta1, rest1, beta2, rest2, epsilon;
  T decay, shrink;  ///< Adam's and AdamW's weight decay; 0 and 1 do nothing
  T step_size, root;

  KG_HOST_DEVICE AdamRule(const Constants& constants, const Rates& rates, std::int64_t step)
      : beta1(static_cast<T>(rates.momentum)),
        rest1(static_cast<T>(1 - rates.momentum)),
        beta2(static_cast<T>(constants.beta2)),
        rest2(static_cast<T>(1 - constants.beta2)),
        epsilon(static_cast<T>(constants.epsilon)),
        decay(static_cast<T>(constants.decoupled ? 0 : constants.weight_decay)),
        shrink(static_cast<T>(
            constants.decoupled ? sum(1.0, -product(rates.learning_rate, constants.weight_decay)) : 1)),
        step_size(static_cast<T>(rates.learning_rate / sum(1.0, -power(rates.momentum, step)))),
        root(static_cast<T>(std::sqrt(sum(1.0, -power(constants.beta2, step))))) {}

  KG_HOST_DEVICE void operator()(T& w, T g, T* kept) const {
    T &mean = kept[0], &square = kept[1];
    w = product(w, shrink);
    if (decay != 0) g = sum(g, product(decay, w));
    mean = sum(product(beta1, mean), product(rest1, g));
    square = sum(product(beta2, square), product(product(rest2, g), g));
    w = sum(w, -(product(step_size, mean) / sum(std::sqrt(square) / root, epsilon)));
  }
};

}  // namespace kg::training
