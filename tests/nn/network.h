// SPDX-License-Identifier: MIT
#pragma once

#include "support.h"

namespace kg::testing {

/// A network with every kind of layer that has state, one of them in a module of its own.
inline nn::Sequential network() {
  return {nn::Sequential(nn::Conv2d(1, 4, 3, {.bias = false}), nn::ReLU(), nn::BatchNorm2d(4)),
          nn::MaxPool2d(2), nn::Flatten(), nn::Linear(36, 10)};
}

inline nn::StateDict copy_of(const nn::StateDict& state) {
  nn::StateDict copy;
  for (const auto& [name, tensor] : state) copy.push_back({name, tensor.clone()});
  return copy;
}

inline bool equal(const nn::StateDict& a, const nn::StateDict& b) {
  return std::ranges::equal(a, b, [](const nn::NamedTensor& x, const nn::NamedTensor& y) {
    return x.name == y.name && same_bits(x.tensor, y.tensor);
  });
}

}  // namespace kg::testing
