// SPDX-License-Identifier: MIT
#include "kernelgrad/random.h"

#include <Random123/philox.h>

namespace kg {

RandomStream::RandomStream(std::uint64_t seed, RandomPurpose purpose, std::uint32_t step,
                           std::uint32_t sample)
    : key_{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)},
      counter_{0, sample, step, static_cast<std::uint32_t>(purpose)} {}

std::uint32_t RandomStream::bits() {
  if (used_ == block_.size()) {
    const r123::Philox4x32::ctr_type counter = {{counter_[0], counter_[1], counter_[2], counter_[3]}};
    const r123::Philox4x32::ctr_type drawn = r123::Philox4x32()(counter, {{key_[0], key_[1]}});
    block_ = {drawn[0], drawn[1], drawn[2], drawn[3]};
    ++counter_[0];
    used_ = 0;
  }
  return block_[used_++];
}

double RandomStream::uniform() { return bits() * 0x1p-32; }

double RandomStream::uniform(double low, double high) { return low + (high - low) * uniform(); }

std::uint32_t RandomStream::below(std::uint32_t n) {
  // Rejects the first 2^32 mod n values, so that every remainder is equally likely.
  const std::uint32_t rejected = -n % n;
  for (;;)
    if (const std::uint32_t value = bits(); value >= rejected) return value % n;
}

Generator& default_generator() {
  static Generator generator;
  return generator;
}

void manual_seed(std::uint64_t seed) { default_generator() = Generator(seed); }

}  // namespace kg
