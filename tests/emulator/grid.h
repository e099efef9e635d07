// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <memory>

/// Running kernels: the CUDA threads of a block are fibers of the OS thread that runs the stream's work.
namespace emulator {

struct Launch {
  std::shared_ptr<const KernelCall> call;
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes;
};

/// Runs all blocks, one after the other. Device memory must be accessible.
void run_grid(const Launch&);

/// " (kernel x, block ..., thread ...)" for messages, "" if no kernel is running.
std::string place_in_kernel();

}  // namespace emulator
