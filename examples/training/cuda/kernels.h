#pragma once

#include <cstdint>
#include <span>

#include "kernels/stream.h"

/// The optimizers' CUDA kernels: what each computes, without a word of CUDA. All pointers are to device memory.
/// Whatever differs from step to step is read from there when a kernel runs, so that a recorded step can be
/// replayed.
namespace kg::training::cuda {

/// One parameter's share of a step of Sgd.
template <class T>
struct SgdParameter {
  std::int64_t count;
  T* parameter;
  const T* gradient;
  T* velocity;            ///< null without momentum
  std::uint8_t* started;  ///< a flag for each of sgd_blocks(count): velocity holds a value; null without it
};

/// What stays the same from step to step.
struct SgdConstants {
  double dampening, weight_decay;
  bool nesterov;
};

/// What a schedule changes, in device memory.
struct SgdRates {
  double learning_rate, momentum;
};

/// How many blocks of threads work on a parameter of `count` elements of `element_size` bytes.
constexpr std::int64_t sgd_blocks(std::int64_t count, std::size_t element_size) {
  constexpr std::int64_t bytes_per_block = 128 * 16;
  const std::int64_t elements = bytes_per_block / static_cast<std::int64_t>(element_size);
  return (count + elements - 1) / elements;
}

/// How many parameters one launch takes; more take several.
inline constexpr std::size_t sgd_parameters_per_launch = 96;

/// A step of Sgd for every parameter: the class comment has the formula. Sets `started`. Defined for float
/// and double.
template <class T>
void sgd_step(std::span<const SgdParameter<T>> parameters, const SgdConstants& constants,
              const SgdRates* rates, kernels::Stream);

}  // namespace kg::training::cuda
