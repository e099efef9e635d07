// SPDX-License-Identifier: MIT
#pragma once

/// What a CUDA kernel of one's own needs, and what the library's own are made of. For .cu files, with a
/// library that was built with CUDA; kernelgrad/device_array.h is for other files as well.
///
///     launch.h         launch<kernel>(grid, arguments...)
///     runtime.h        errors, the stream, and the right to queue work on it
///     shared_memory.h  a block's shared memory, array by array
///     reduce.h         reductions over a warp and a block, of fixed order
///     vec.h            16 bytes at a time
///     philox.h         random numbers by their address, as those of RandomStream; needs Random123 (Debian:
///                      librandom123-dev)
#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"
#include "kernelgrad/cuda/runtime.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernelgrad/cuda/vec.h"
#include "kernelgrad/device_array.h"
#if __has_include(<Random123/philox.h>)
#include "kernelgrad/cuda/philox.h"
#endif
