// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/ops.h"
#include "kernels/pool2d_problem.h"
#include "ops/check.h"

namespace kg {

/// The checked problem of a pooling operation called `op`.
kernels::Pool2dProblem pool2d_problem(std::string_view op, const Tensor& x, Pair kernel,
                                      const PoolOptions& options);

}  // namespace kg
