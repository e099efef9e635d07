#pragma once

#include <string>

#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/linear.h"
#include "kernels/pool2d_problem.h"

/// Problems in words: the same words for problems that take the same time, and for no others.
namespace kg::backend {

/// "128x8x24x24, weight 16x8x3x3", then what differs from the defaults: " stride 2x2 padding 1x1".
std::string describe(const kernels::Conv2dProblem& problem);
/// "128 rows, 784 -> 10 features".
std::string describe(const kernels::LinearProblem& problem);
/// "128x16x576, relu before, dropout"; the last dimension is the plane.
std::string describe(const kernels::BatchNormProblem& problem);
/// "1024 planes 24x24, window 2x2 stride 2x2".
std::string describe(const kernels::Pool2dProblem& problem);

}  // namespace kg::backend
