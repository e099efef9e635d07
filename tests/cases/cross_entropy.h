// SPDX-License-Identifier: MIT
#pragma once

#include "cases/log_softmax.h"

namespace kg::cases {

inline constexpr Rows cross_entropy[] = {{1, 1},  {1, 7},  {7, 1},  {3, 10},  {31, 10},
                                         {5, 33}, {65, 3}, {2, 65}, {128, 10}};
/// Several tasks and blocks.
inline constexpr Rows cross_entropy_large[] = {{1031, 10}, {3, 1001}, {37, 129}};

}  // namespace kg::cases
