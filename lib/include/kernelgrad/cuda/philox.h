// SPDX-License-Identifier: MIT
#pragma once

#include <Random123/philox.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernelgrad/random.h"

namespace KG_API kg {
namespace cuda {

/// Random words that come at a time.
inline constexpr int philox_size = 4;

struct PhiloxWords {
  std::uint32_t words[philox_size];
};

/// Four words of 32 random bits: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
/// SC 2011) keyed by `seed`, with the counter (low(index), high(index), step, purpose). They depend on this
/// address alone. RandomStream(seed, purpose, step, high(index)) gives the same, as its words
/// 4 * low(index) and after.
__device__ inline PhiloxWords philox(std::uint64_t seed, RandomPurpose purpose, std::uint32_t step,
                                     std::uint64_t index) {
  const r123::Philox4x32::ctr_type counter = {{static_cast<std::uint32_t>(index),
                                               static_cast<std::uint32_t>(index >> 32), step,
                                               static_cast<std::uint32_t>(purpose)}};
  const r123::Philox4x32::key_type key = {
      {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)}};
  const r123::Philox4x32::ctr_type drawn = r123::Philox4x32()(counter, key);
  return {{drawn.v[0], drawn.v[1], drawn.v[2], drawn.v[3]}};
}

}  // namespace cuda
}  // namespace kg
