// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

/// Shared memory of the block that runs.
namespace emulator {

/// Fresh shared memory for a block, filled with not-a-number; what it held before is gone.
void begin_shared_memory(std::size_t bytes);
/// Checks that nothing was written between the arrays.
void end_shared_memory();

}  // namespace emulator
