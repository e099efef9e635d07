// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>

#include "kernelgrad/export.h"

namespace KG_API kg {

/// What a random draw is for. Part of the address of every draw, so that two uses of one seed never share
/// numbers.
enum class RandomPurpose : std::uint32_t { initialization, dropout, shuffle, augmentation, user };

/// A sequence of random numbers at an address: Philox4x32-10 (Salmon et al., "Parallel random numbers: as
/// easy as 1, 2, 3", SC 2011) keyed by `seed`, with the counter (position, sample, step, purpose).
///
/// A draw depends on its address alone, never on how many draws other samples made, on the batch split, on
/// the thread or on the device: `RandomStream(seed, RandomPurpose::augmentation, epoch, image)` is the same
/// sequence whichever worker asks for it.
class RandomStream {
 public:
  RandomStream(std::uint64_t seed, RandomPurpose purpose, std::uint32_t step = 0, std::uint32_t sample = 0);

  /// The next 32 random bits.
  std::uint32_t bits();
  /// Uniform in [0, 1), with 32 random bits.
  double uniform();
  /// Uniform in [low, high).
  double uniform(double low, double high);
  /// Uniform integer in [0, n), without modulo bias. n must be positive.
  std::uint32_t below(std::uint32_t n);

 private:
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 4> block_{};
  unsigned used_ = 4;
};

}  // namespace kg
