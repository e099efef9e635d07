// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/form.h"
#include "kernels/table.h"

namespace kg::kernels {

/// Element-wise dropout. No mask is stored: element i is kept if the 32-bit number drawn for it is at least
/// drop_threshold(). The draw is word i % 4 of Philox4x32-10 with key `seed` and counter
/// (low(i / 4), high(i / 4), low(offset + *offset_base), RandomPurpose::dropout), the same on every backend,
/// so that backward finds the mask of forward again from (seed, offset).
struct DropoutProblem {
  double p = 0;  ///< Probability that an element is set to zero, in [0, 1].
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;  ///< Number of the draw; forward and its backward share it, no two forwards do.
  /// If not null, memory of the device that is read when the kernel runs: a recorded kernel draws other
  /// numbers each time that it is replayed.
  const std::uint64_t* offset_base = nullptr;

  /// A draw below this is dropped: p * 2^32. 64 bits, so that p = 1 drops everything.
  std::uint64_t drop_threshold() const { return static_cast<std::uint64_t>(p * 0x1p32); }
  /// What kept values are multiplied by.
  double scale() const { return p < 1 ? 1 / (1 - p) : 0; }
};

template <class T>
struct DropoutKernels {
  static constexpr std::string_view operation = "dropout";

  /// output[i] = input[i] * (kept(i) ? scale() : 0), a product as in PyTorch: a dropped NaN or infinity is
  /// NaN. Its own transpose: backward is the same call on gradients.
  void (*apply)(const DropoutProblem&, std::int64_t count, Input<T> input, Output<T> output);
};

}  // namespace kg::kernels
