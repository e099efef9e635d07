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

/// Where dropout takes its numbers from: a seed and the number of draws made so far. Two tensors dropped with
/// the same seed and draw share their mask; each call to dropout() advances the draw by one.
class Generator {
 public:
  explicit Generator(std::uint64_t seed = 0) : seed_(seed) {}
  std::uint64_t seed() const { return seed_; }
  /// Number of the next draw. Saved and restored with the seed, training goes on exactly as it would have.
  std::uint64_t draws() const { return draws_; }
  void set_state(std::uint64_t seed, std::uint64_t draws) { seed_ = seed, draws_ = draws; }
  /// The number of this draw; the next call gets another.
  std::uint64_t draw() { return draws_++; }

 private:
  std::uint64_t seed_;
  std::uint64_t draws_ = 0;
};

/// The generator that dropout uses unless it is given another. One for the whole process; not synchronised.
Generator& default_generator();
/// Restarts default_generator() with a seed.
void manual_seed(std::uint64_t seed);

}  // namespace kg
