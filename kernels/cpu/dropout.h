// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "kernels/dropout.h"

namespace kg::kernels::cpu {

/// factors[i] = the scale of element first + i if it is kept, otherwise 0.
template <class T>
void dropout_factors(const DropoutProblem& problem, std::int64_t first, std::int64_t count, T* factors);

/// For as many images of `count` elements as a vector has lanes of 32 bits, the first of which begins with
/// element `first`: bit i of the mask for element k, in masks of so many bits, is set where image i keeps it.
/// False, and nothing done, where draws do not fit the lanes: `count` is not a multiple of 4, say.
bool draw_masks(const DropoutProblem& problem, std::int64_t first, std::int64_t images, std::int64_t count,
                std::uint8_t* masks);

/// output[i] = input[i] * the factor of element first + i. The two may be the same array. For pieces that fit
/// the first-level cache: the factors take as much memory again.
template <class T>
void drop(const DropoutProblem& problem, std::int64_t first, std::int64_t count, const T* input, T* output);

}  // namespace kg::kernels::cpu
