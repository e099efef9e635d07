// SPDX-License-Identifier: MIT
#pragma once

#include "kernelgrad/ops.h"
#include "kernels/dropout.h"

namespace kg {

/// The problem of one application of dropout: takes a draw of the generator.
kernels::DropoutProblem draw_mask(double p, Generator& generator);

}  // namespace kg
