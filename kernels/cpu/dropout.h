// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include "kernels/dropout.h"

namespace kg::kernels::cpu {

/// factors[i] = the scale of element first + i if it is kept, otherwise 0.
template <class T>
void dropout_factors(const DropoutProblem& problem, std::int64_t first, std::int64_t count, T* factors);

/// output[i] = input[i] * the factor of element first + i. The two may be the same array. For pieces that fit
/// the first-level cache: the factors take as much memory again.
template <class T>
void drop(const DropoutProblem& problem, std::int64_t first, std::int64_t count, const T* input, T* output);

}  // namespace kg::kernels::cpu
