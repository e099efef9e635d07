#pragma once

#include <cstdint>

#include "kernels/dropout.h"

namespace kg::kernels::cpu {

/// factors[i] = the scale of element first + i if it is kept, otherwise 0.
template <class T>
void dropout_factors(const DropoutProblem& problem, std::int64_t first, std::int64_t count, T* factors);

}  // namespace kg::kernels::cpu
