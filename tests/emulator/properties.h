// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

namespace emulator {

// The limits of compute capability 7.5.
inline constexpr int max_block_threads = 1024;
inline constexpr int threads_per_multiprocessor = 1024;
inline constexpr std::size_t shared_per_block = 48 * 1024;
inline constexpr std::size_t shared_per_block_optin = 64 * 1024;
inline constexpr std::size_t shared_per_multiprocessor = 64 * 1024;

}  // namespace emulator
