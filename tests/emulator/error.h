// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "emulator/runtime_api.h"

namespace emulator {

/// Prints "emulator: <message>", with the kernel, block and thread if one is running, and aborts: what the
/// emulator finds is a fault in the program, and no caller may miss it.
[[noreturn]] void fail(const std::string& message);

/// What an API function returns: remembered for cudaGetLastError().
cudaError_t note(cudaError_t);

/// "relu_forward_kernel<float>" for a kernel's address.
std::string kernel_name(const void* kernel);
/// The kernel will be listed in the file that KG_EMULATOR_KERNELS names.
void note_kernel_run(const void* kernel);

/// "0x7f..." for messages.
std::string text(const void* address);

}  // namespace emulator
