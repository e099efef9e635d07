// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "kernelgrad/tensor.h"

namespace kg::cases {

struct Reduction {
  Shape shape;
  std::vector<int> dims;
};

inline const Reduction reduce[] = {
    {{}, {}},
    {{1}, {}},
    {{7}, {0}},
    {{7}, {-1}},
    {{3, 5}, {}},
    {{3, 5}, {0}},
    {{3, 5}, {1}},
    {{3, 5}, {0, 1}},
    {{2, 3, 4}, {1}},
    {{2, 3, 4}, {0, 2}},
    {{2, 3, 4}, {-3, -1}},
    {{2, 3, 4}, {2, 0, 1}},
    {{3, 1, 5}, {1}},
    {{1, 1, 1}, {0, 2}},
    {{2, 3, 2, 3}, {1, 2}},
    {{2, 1, 3, 1, 2, 1, 2, 2}, {0, 2, 4, 6}},
    {{31, 33}, {0}},
    {{33, 31}, {1}},
    // Rows of a few elements, and of more.
    {{67, 2}, {1}},
    {{5, 333}, {1}},
    {{3, 2050}, {1}},
};

/// Long sums, and many of them.
inline const Reduction reduce_large[] = {
    {{100'003}, {}},
    {{65, 3, 331}, {0, 2}},
    {{7, 20'001}, {0}},
    // Long sums for few columns.
    {{3001, 5}, {0}},
    {{11, 3, 40, 7}, {0, 2}},
};

inline std::string describe(const Reduction& p) {
  std::string dims;
  for (const int dim : p.dims) dims.append(" ").append(std::to_string(dim));
  return to_string(p.shape) + " over" + (dims.empty() ? " all" : dims);
}

}  // namespace kg::cases
