#pragma once

#include <string>

#include "cases/count.h"
#include "kernelgrad/tensor.h"

namespace kg::cases {

/// Two operands of add and mul.
struct Operands {
  Shape a, b;
};

inline const Operands elementwise[] = {
    {{1}, {1}},
    {{}, {}},
    {{7}, {7}},
    {{3, 5}, {3, 5}},
    // Broadcast: a scalar, a row, a column, both ways, missing dimensions, the middle.
    {{7}, {}},
    {{}, {3, 1}},
    {{3, 5}, {5}},
    {{3, 5}, {3, 1}},
    {{3, 1}, {1, 5}},
    {{4}, {3, 1}},
    {{2, 3, 4}, {2, 1, 4}},
    {{2, 1, 4, 1}, {3, 1, 5}},
    {{1, 1, 1}, {31}},
    {{2, 3, 4, 5}, {3, 1, 1}},
    {{1, 2, 1, 2, 1, 2, 1, 2}, {2, 1, 2, 1, 2, 1, 2, 1}},
};

/// For fill, scale and accumulate. The last is several tasks.
inline constexpr Count elementwise_counts[] = {{0}, {1}, {7}, {31}, {33}, {65}, {1000}, {50'001}};

/// Several tasks.
inline const Operands elementwise_large[] = {
    {{33, 31, 65}, {33, 31, 65}},
    {{33, 31, 65}, {31, 1}},
};

inline std::string describe(const Operands& p) { return to_string(p.a) + " and " + to_string(p.b); }

}  // namespace kg::cases
