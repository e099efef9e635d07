// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>

#include "training/rules.h"

/// The optimizers' CUDA kernel: what it computes, without a word of CUDA. All pointers are to device memory.
/// Whatever differs from step to step is read from there when the kernel runs, so that a recorded step can be
/// replayed.
namespace kg::training::cuda {

/// One parameter's share of a step.
template <class T, int kept_values>
struct ParameterStep {
  std::int64_t count = 0;
  T* parameter = nullptr;
  const T* gradient = nullptr;
  T* kept[kept_values] = {};      ///< null where nothing is kept
  std::int32_t* steps = nullptr;  ///< for each of step_blocks(count), how many it has made; null with `kept`
};

/// How many blocks of threads work on a parameter of `count` elements of `element_size` bytes.
constexpr std::int64_t step_blocks(std::int64_t count, std::size_t element_size) {
  constexpr std::int64_t bytes_per_block = 128 * 16;
  const std::int64_t elements = bytes_per_block / static_cast<std::int64_t>(element_size);
  return (count + elements - 1) / elements;
}

/// How many parameters one launch takes, whose table travels in its arguments; more take several launches.
template <class T, int kept_values>
inline constexpr std::size_t parameters_per_launch = 3840 / sizeof(ParameterStep<T, kept_values>);

/// A step of every parameter by the rule, and its count. `rates` are learning rate and momentum.
template <class Rule>
void optimizer_step(std::span<const ParameterStep<typename Rule::Value, Rule::kept_values>> parameters,
                    const typename Rule::Constants& constants, const double* rates);

/// For a file that defines optimizer_step(): it is there for these.
#define KG_INSTANTIATE_OPTIMIZER_STEP(Rule)                                                          \
  template void optimizer_step<Rule>(std::span<const ParameterStep<Rule::Value, Rule::kept_values>>, \
                                     const Rule::Constants&, const double*);
#define KG_INSTANTIATE_OPTIMIZER_STEPS           \
  KG_INSTANTIATE_OPTIMIZER_STEP(SgdRule<float>)  \
  KG_INSTANTIATE_OPTIMIZER_STEP(SgdRule<double>) \
  KG_INSTANTIATE_OPTIMIZER_STEP(AdamRule<float>) \
  KG_INSTANTIATE_OPTIMIZER_STEP(AdamRule<double>)

}  // namespace kg::training::cuda
