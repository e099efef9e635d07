// SPDX-License-Identifier: MIT
#pragma once

#include <hwy/targets.h>

#include <cstdint>
#include <vector>

#include "catch.h"

namespace kg::testing {

/// Makes the kernels run as on a processor that has nothing better than one instruction set.
class LimitedTo {
 public:
  explicit LimitedTo(std::int64_t target) {
    // In Highway the better set has the smaller number.
    hwy::SetSupportedTargetsForTest(hwy::SupportedTargets() & ~(target - 1));
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  ~LimitedTo() {
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  LimitedTo(const LimitedTo&) = delete;
  LimitedTo& operator=(const LimitedTo&) = delete;
};

inline std::vector<std::int64_t> every_target() {
  std::vector<std::int64_t> targets;
  for (std::int64_t rest = hwy::SupportedTargets(); rest != 0; rest &= rest - 1)
    targets.push_back(rest & -rest);
  return targets;
}

/// Calls body() once per instruction set that this processor has, named in what fails.
template <class Body>
void for_each_target(const Body& body) {
  for (const std::int64_t target : every_target()) {
    INFO(hwy::TargetName(target));
    const LimitedTo limited(target);
    body();
  }
}

}  // namespace kg::testing
