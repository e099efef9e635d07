// SPDX-License-Identifier: MIT
#pragma once

/// A small CUDA for the CPU. Comes before the toolkit's header on the include path, so that unmodified .cu
/// files compile as C++: README.md in the emulator's folder says what it checks.
#include "emulator/vector_types.h"

#include "emulator/device_code.h"
#include "emulator/launch.h"
#include "emulator/runtime_api.h"
