// SPDX-License-Identifier: MIT
#pragma once

#include <hwy/targets.h>

namespace kg::kernels::cpu {

/// The instruction set that Highway's dynamic dispatch takes on this CPU: "AVX2". The lowest bit is the best.
inline const char* simd_level() {
  const auto targets = hwy::SupportedTargets() & HWY_TARGETS;
  return hwy::TargetName(targets & -targets);
}

}  // namespace kg::kernels::cpu
