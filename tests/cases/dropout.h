// SPDX-License-Identifier: MIT
#pragma once

#include "cases/count.h"

namespace kg::cases {

/// A block of random numbers serves 4 elements; the last is several tasks.
inline constexpr Count dropout[] = {{1}, {2}, {3}, {4}, {5}, {7}, {31}, {33}, {65}, {1000}, {50'001}};

}  // namespace kg::cases
