// SPDX-License-Identifier: MIT
#include "kernels/cpu/dropout.h"

#include <algorithm>

#include "kernelgrad/random.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/simd_level.h"
#include "kernels/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace kg::kernels::cpu {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

using Words = hn::ScalableTag<std::uint32_t>;
using Vector = hn::Vec<Words>;

/// The upper halves of the 64-bit products of the lanes.
HWY_INLINE Vector multiply_high(Vector a, Vector b) {
  const Words d;
#if HWY_TARGET == HWY_SCALAR
  return hn::Set(d, static_cast<std::uint32_t>(std::uint64_t{hn::GetLane(a)} * hn::GetLane(b) >> 32));
#else
  const Vector even = hn::BitCast(d, hn::MulEven(a, b));
  const Vector odd = hn::BitCast(d, hn::MulEven(hn::Shuffle2301(a), hn::Shuffle2301(b)));
  return hn::OddEven(odd, hn::Shuffle2301(even));
#endif
}

/// Philox4x32-10, a block per lane, where Random123 computes one block at a time. A test holds the two
/// together bit by bit.
void philox_blocks(std::uint64_t seed, std::uint64_t offset, std::uint32_t purpose, std::uint64_t first_block,
                   std::int64_t blocks, std::uint32_t* words) {
  const Words d;
  const std::int64_t lanes = hn::Lanes(d);
  const Vector multiplier_0 = hn::Set(d, 0xD2511F53u), multiplier_1 = hn::Set(d, 0xCD9E8D57u);
  for (std::int64_t done = 0; done < blocks; done += lanes) {
    const std::uint64_t block = first_block + static_cast<std::uint64_t>(done);
    const std::uint32_t low = static_cast<std::uint32_t>(block);
    Vector c0 = hn::Iota(d, low);
    const auto carried = hn::Lt(c0, hn::Set(d, low));
    const Vector high = hn::Set(d, static_cast<std::uint32_t>(block >> 32));
    Vector c1 = hn::IfThenElse(carried, hn::Add(high, hn::Set(d, 1u)), high);
    Vector c2 = hn::Set(d, static_cast<std::uint32_t>(offset)), c3 = hn::Set(d, purpose);
    std::uint32_t key_0 = static_cast<std::uint32_t>(seed), key_1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < 10; ++round, key_0 += 0x9E3779B9u, key_1 += 0xBB67AE85u) {
      const Vector next_0 = hn::Xor(hn::Xor(multiply_high(c2, multiplier_1), c1), hn::Set(d, key_0));
      const Vector next_2 = hn::Xor(hn::Xor(multiply_high(c0, multiplier_0), c3), hn::Set(d, key_1));
      c1 = hn::Mul(c2, multiplier_1);
      c3 = hn::Mul(c0, multiplier_0);
      c0 = next_0;
      c2 = next_2;
    }
    hn::StoreInterleaved4(c0, c1, c2, c3, d, words + 4 * done);
  }
}

template <class T>
HWY_INLINE void multiply(const T* x, const T* factors, std::int64_t count, T* y) {
  const hn::ScalableTag<T> d;
  const std::int64_t lanes = hn::Lanes(d);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::Mul(hn::LoadU(d, x + i), hn::LoadU(d, factors + i)), d, y + i);
  for (; i < count; ++i) y[i] = x[i] * factors[i];
}

void multiply_floats(const float* x, const float* factors, std::int64_t count, float* y) {
  multiply(x, factors, count, y);
}
void multiply_doubles(const double* x, const double* factors, std::int64_t count, double* y) {
  multiply(x, factors, count, y);
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace kg::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kg::kernels::cpu {

HWY_EXPORT(philox_blocks);
HWY_EXPORT(multiply_floats);
HWY_EXPORT(multiply_doubles);

template <class T>
void dropout_factors(const DropoutProblem& problem, std::int64_t first, std::int64_t count, T* factors) {
  if (problem.p >= 1) {
    std::fill_n(factors, count, T(0));
    return;
  }
  constexpr std::int64_t max_lanes = 64;
  thread_local Scratch<std::uint32_t> memory;
  const std::int64_t first_block = first / 4, blocks = (first + count + 3) / 4 - first_block;
  std::uint32_t* words = memory.reserve(4 * (blocks + max_lanes));
  HWY_DYNAMIC_DISPATCH(philox_blocks)
  (problem.seed, problem.offset + (problem.offset_base ? *problem.offset_base : 0),
   static_cast<std::uint32_t>(RandomPurpose::dropout), static_cast<std::uint64_t>(first_block), blocks,
   words);
  const std::uint32_t threshold = static_cast<std::uint32_t>(problem.drop_threshold());
  const T scale = static_cast<T>(problem.scale());
  words += first % 4;
  for (std::int64_t i = 0; i < count; ++i) factors[i] = words[i] >= threshold ? scale : T(0);
}
template void dropout_factors(const DropoutProblem&, std::int64_t, std::int64_t, float*);
template void dropout_factors(const DropoutProblem&, std::int64_t, std::int64_t, double*);

template <class T>
void drop(const DropoutProblem& problem, std::int64_t first, std::int64_t count, const T* input, T* output) {
  thread_local Scratch<T> memory;
  T* factors = memory.reserve(count);
  dropout_factors(problem, first, count, factors);
  if constexpr (sizeof(T) == 4)
    HWY_DYNAMIC_DISPATCH(multiply_floats)(input, factors, count, output);
  else
    HWY_DYNAMIC_DISPATCH(multiply_doubles)(input, factors, count, output);
}
template void drop(const DropoutProblem&, std::int64_t, std::int64_t, const float*, float*);
template void drop(const DropoutProblem&, std::int64_t, std::int64_t, const double*, double*);

namespace {

/// Elements that are dropped at once: their factors stay in the first-level cache.
constexpr std::int64_t elements_per_task = 2048;

template <class T>
void apply(const DropoutProblem& problem, std::int64_t count, const T* input, T* output) {
  note_variant(simd_level());
  parallel_for_ranges(count, elements_per_task, [&](Range range) {
    drop(problem, range.begin, range.end - range.begin, input + range.begin, output + range.begin);
  });
}

template <class T>
constexpr DropoutKernels<T> dropout{apply<T>};

}  // namespace

template <>
Tables<DropoutKernels> tables() {
  return {&dropout<float>, &dropout<double>};
}

}  // namespace kg::kernels::cpu
#endif
