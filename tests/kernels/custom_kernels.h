// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "kernelgrad/random.h"

/// Kernels of a user's, made of kernelgrad/cuda.h alone.
namespace custom {

/// The four words of kg::cuda::philox() at each index from `first` on.
void draw(std::uint64_t seed, kg::RandomPurpose purpose, std::uint32_t step, std::uint64_t first,
          std::int64_t count, std::uint32_t* words);

struct Range {
  double sum = 0;
  float largest = 0;
  std::int64_t count = 0;
};

/// Adds `count` values to each of the ranges' first; what it leaves in a range is what one block saw.
constexpr std::int64_t values_per_block = 1000;
void measure(std::int64_t count, const float* values, Range* ranges);

}  // namespace custom
