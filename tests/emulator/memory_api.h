// SPDX-License-Identifier: MIT
#pragma once

namespace emulator {

/// True if the address lies in memory from cudaMallocHost(), which a GPU can reach.
bool is_pinned(const void* address);

}  // namespace emulator
