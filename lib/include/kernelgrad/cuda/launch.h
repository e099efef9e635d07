// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <limits>
#include <source_location>
#include <string>
#include <string_view>

#include "kernelgrad/cuda/runtime.h"

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#endif

/// Launches of kernels on the stream of kernelgrad/cuda/runtime.h.
namespace KG_API kg {
namespace cuda {

/// Lanes of a warp, and the mask that names all of them.
inline constexpr int warp_size = 32;
inline constexpr unsigned all_lanes = 0xffffffffu;

/// Shape of a launch. `where` is the place of the launch, for error messages.
struct Grid {
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes = 0;       ///< of dynamic shared memory: SharedLayout::bytes()
  cudaStream_t own_stream = nullptr;  ///< to run on in place of stream()
  std::source_location where = std::source_location::current();
};

/// How many pieces of `size` cover `count`; neither is negative.
__host__ __device__ constexpr std::int64_t ceil_div(std::int64_t count, std::int64_t size) {
  return (count + size - 1) / size;
}

/// `count` as a grid's extent in x. Throws Error beyond the hardware's limit of 2^31 - 1 blocks.
inline unsigned block_count(std::int64_t count) {
  if (count > std::numeric_limits<std::int32_t>::max())
    throw Error("cuda: " + std::to_string(count) + " blocks are more than a launch can have");
  return static_cast<unsigned>(count);
}

/// At least `count` threads, a thread for each of many elements, in a one-dimensional grid.
template <int block_size>
Grid grid_for(std::int64_t count, std::source_location where = std::source_location::current()) {
  return {.blocks = block_count(ceil_div(count, block_size)), .threads = block_size, .where = where};
}

/// The number of the thread within such a grid.
template <int block_size>
__device__ std::int64_t global_thread() {
  return std::int64_t{blockIdx.x} * block_size + threadIdx.x;
}

namespace detail {

/// Says which kernel runs, for kg::backend_choices(). `name` lives for ever.
void note_launch(const char* name) noexcept;

/// "relu_forward_kernel<float>" out of the compiler's description of a function with that template argument.
template <auto kernel>
const std::string& kernel_name() {
  static const std::string name = [](std::string_view function) {
    const std::size_t begin = function.find("kernel = ") + 9;
    return std::string(function.substr(begin, function.find_first_of(";]", begin) - begin));
  }(__PRETTY_FUNCTION__);
  return name;
}

/// A range of that name in a profiler's timeline (NVTX), where the toolkit has it. Without a profiler it
/// costs some nanoseconds.
class ProfilerRange {
 public:
#if __has_include(<nvtx3/nvToolsExt.h>)
  explicit ProfilerRange(const std::string& name) { nvtxRangePushA(name.c_str()); }
  ~ProfilerRange() { nvtxRangePop(); }
#else
  explicit ProfilerRange(const std::string&) {}
#endif
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;
};

/// Lets launches of the kernel have as much shared memory as the device offers.
inline cudaError_t raise_shared_limit(const void* kernel) {
  int bytes = 0;
  const cudaError_t code = cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
  if (code != cudaSuccess) return code;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

}  // namespace detail

/// Launches `kernel` with the arguments, converted to its parameters' types. Nothing happens on an empty
/// grid, which the runtime would refuse. Throws Error with the kernel's name and the place of the launch.
///
///     launch<scale_kernel<T>>(grid_for<256>(count), count, input, output);
template <auto kernel, class... Arguments>
void launch(const Grid& grid, Arguments... arguments) {
  if (grid.blocks.x == 0 || grid.blocks.y == 0 || grid.blocks.z == 0) return;
  const auto check_launch = [&](cudaError_t code) {
    if (code != cudaSuccess)
      throw Error(failure(code, detail::kernel_name<kernel>(), grid.where.file_name(), grid.where.line()));
  };
  // What every kernel may have; more must be asked for.
  constexpr std::size_t default_shared_bytes = 48 * 1024;
  if (grid.shared_bytes > default_shared_bytes) {
    // Once, and to the most: a limit that followed the launches might be too low for another thread's, or for
    // the replay of one that was recorded.
    static const cudaError_t raised = detail::raise_shared_limit(reinterpret_cast<const void*>(kernel));
    check_launch(raised);
  }
  detail::note_launch(detail::kernel_name<kernel>().c_str());
  const Turn turn;
  const detail::ProfilerRange range(detail::kernel_name<kernel>());
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.dynamicSmemBytes = grid.shared_bytes;
  config.stream = grid.own_stream ? grid.own_stream : stream();
  check_launch(cudaLaunchKernelEx(&config, kernel, arguments...));
}

}  // namespace cuda
}  // namespace kg
