// SPDX-License-Identifier: MIT
#include "kernels/cpu/dropout.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernelgrad/random.h"
#include "kernels/cpu/dropout_blocks.h"
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

/// The lower and upper halves of the 64-bit products of the lanes.
struct Product {
  Vector low, high;
};

HWY_INLINE Product multiply(Vector a, Vector b) {
  const Words d;
#if HWY_TARGET == HWY_SCALAR
  const std::uint64_t product = std::uint64_t{hn::GetLane(a)} * hn::GetLane(b);
  return {hn::Set(d, static_cast<std::uint32_t>(product)),
          hn::Set(d, static_cast<std::uint32_t>(product >> 32))};
#else
  const Vector even = hn::BitCast(d, hn::MulEven(a, b));
  const Vector odd = hn::BitCast(d, hn::MulEven(hn::Shuffle2301(a), hn::Shuffle2301(b)));
  return {hn::OddEven(hn::Shuffle2301(odd), even), hn::OddEven(odd, hn::Shuffle2301(even))};
#endif
}

/// Philox4x32-10 of a counter per lane, which becomes its four words.
HWY_INLINE void philox(std::uint64_t seed, Vector (&c)[4]) {
  const Words d;
  const Vector multiplier_0 = hn::Set(d, 0xD2511F53u), multiplier_1 = hn::Set(d, 0xCD9E8D57u);
  std::uint32_t key_0 = static_cast<std::uint32_t>(seed), key_1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round, key_0 += 0x9E3779B9u, key_1 += 0xBB67AE85u) {
    const Product p0 = multiply(c[0], multiplier_0), p2 = multiply(c[2], multiplier_1);
    c[0] = hn::Xor(hn::Xor(p2.high, c[1]), hn::Set(d, key_0));
    c[1] = p2.low;
    c[2] = hn::Xor(hn::Xor(p0.high, c[3]), hn::Set(d, key_1));
    c[3] = p0.low;
  }
}

/// Philox4x32-10, a block per lane, where Random123 computes one block at a time. A test holds the two
/// together bit by bit.
void philox_blocks(std::uint64_t seed, std::uint64_t offset, std::uint32_t purpose, std::uint64_t first_block,
                   std::int64_t blocks, std::uint32_t* words) {
  const Words d;
  const std::int64_t lanes = hn::Lanes(d);
  for (std::int64_t done = 0; done < blocks; done += lanes) {
    const std::uint64_t block = first_block + static_cast<std::uint64_t>(done);
    const std::uint32_t low = static_cast<std::uint32_t>(block);
    Vector c[4] = {hn::Iota(d, low), hn::Set(d, static_cast<std::uint32_t>(block >> 32)),
                   hn::Set(d, static_cast<std::uint32_t>(offset)), hn::Set(d, purpose)};
    c[1] = hn::IfThenElse(hn::Lt(c[0], hn::Set(d, low)), hn::Add(c[1], hn::Set(d, 1u)), c[1]);
    philox(seed, c);
    hn::StoreInterleaved4(c[0], c[1], c[2], c[3], d, words + 4 * done);
  }
}

/// The same draws for as many images as there are lanes, an image a lane: bit i of mask word k says whether
/// the draw for element k of image i is at least the threshold. An image begins with a block of its own, and
/// blocks are numbered by 32 bits.
void philox_masks(std::uint64_t seed, std::uint64_t offset, std::uint32_t purpose, std::uint32_t first_block,
                  std::uint32_t blocks_per_image, std::uint32_t threshold, std::uint8_t* masks) {
  const Words d;
  const std::size_t bytes = (hn::Lanes(d) + 7) / 8;
  const Vector first =
      hn::Add(hn::Set(d, first_block), hn::Mul(hn::Iota(d, 0u), hn::Set(d, blocks_per_image)));
  for (std::uint32_t k = 0; k < blocks_per_image; ++k) {
    Vector c[4] = {hn::Add(first, hn::Set(d, k)), hn::Zero(d), hn::Set(d, static_cast<std::uint32_t>(offset)),
                   hn::Set(d, purpose)};
    philox(seed, c);
    for (const Vector word : c) {
      std::uint8_t bits[8];
      hn::StoreMaskBits(d, hn::Not(hn::Lt(word, hn::Set(d, threshold))), bits);
      std::memcpy(masks, bits, bytes);
      masks += bytes;
    }
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
HWY_EXPORT(philox_masks);
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

bool draw_masks(const DropoutProblem& problem, std::int64_t first, std::int64_t images, std::int64_t count,
                std::uint8_t* masks) {
  if (problem.p >= 1 || count % 4 != 0 ||
      (first + images * count) / 4 > std::numeric_limits<std::uint32_t>::max())
    return false;
  HWY_DYNAMIC_DISPATCH(philox_masks)
  (problem.seed, problem.offset + (problem.offset_base ? *problem.offset_base : 0),
   static_cast<std::uint32_t>(RandomPurpose::dropout), static_cast<std::uint32_t>(first / 4),
   static_cast<std::uint32_t>(count / 4), static_cast<std::uint32_t>(problem.drop_threshold()), masks);
  return true;
}

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
void apply(const DropoutProblem& problem, std::int64_t count, Input<T> input_array, Output<T> output_array) {
  note_variant(simd_level());
  if (const auto blocks = input_array.template form<Blocks<T>>();
      blocks && blocks->images() * blocks->count() == count)
    return output_array.keep(std::make_shared<Dropped<T>>(stored(blocks), problem));
  const T* input = input_array;
  T* output = output_array;
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
