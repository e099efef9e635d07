// SPDX-License-Identifier: MIT
#include "emulator/launch.h"

#include <map>
#include <string>

#include "device_memory.h"
#include "error.h"
#include "grid.h"
#include "memory_api.h"
#include "properties.h"
#include "stream.h"

/// Launches: the configuration and the pointers are checked at the call, the kernel runs with its stream.
namespace emulator {

namespace {

/// Shared memory that a kernel may have beyond shared_per_block.
std::map<const void*, std::size_t>& allowed_shared() {
  static auto& allowed = *new std::map<const void*, std::size_t>;
  return allowed;
}

bool is_valid(const dim3& blocks, const dim3& threads) {
  return blocks.x > 0 && blocks.y > 0 && blocks.z > 0 && blocks.x <= 0x7fffffffu && blocks.y <= 65535 &&
         blocks.z <= 65535 && threads.x > 0 && threads.y > 0 && threads.z > 0 && threads.x <= 1024 &&
         threads.y <= 1024 && threads.z <= 64 &&
         std::uint64_t{threads.x} * threads.y * threads.z <= std::uint64_t{max_block_threads};
}

enum class When { call, run };

/// Fails if one of the arguments points to where a GPU would find nothing.
void check_pointers(const KernelCall& call, When when) {
  for (const void* pointer : call.pointers) {
    if (!pointer || is_pinned(pointer)) continue;
    if (!device_memory().contains(pointer))
      fail("an argument of kernel " + kernel_name(call.kernel) + " points to host memory, " + text(pointer));
    if (when == When::call) continue;
    const Allocation* const allocation = device_memory().find(pointer);
    if (!allocation || allocation->state != Allocation::State::live)
      fail("an argument of kernel " + kernel_name(call.kernel) +
           " points to device memory that is not allocated " + "when the kernel runs, " + text(pointer));
  }
}

void run_kernel(const Launch& launch) {
  check_pointers(*launch.call, When::run);
  run_grid(launch);
  note_kernel_run(launch.call->kernel);
  for (const void* pointer : launch.call->pointers)
    if (const Allocation* const allocation = device_memory().find(pointer))
      device_memory().check_red_zone(*allocation, launch.call->kernel);
}

}  // namespace

cudaError_t launch(const cudaLaunchConfig_t& config, std::shared_ptr<const KernelCall> call) {
  const std::lock_guard lock(api_mutex());
  if (!is_valid(config.gridDim, config.blockDim)) return note(cudaErrorInvalidConfiguration);
  const auto allowed = allowed_shared().find(call->kernel);
  if (config.dynamicSmemBytes > (allowed == allowed_shared().end() ? shared_per_block : allowed->second))
    return note(cudaErrorInvalidValue);
  check_pointers(*call, When::call);
  return note(enqueue(config.stream, [launch = Launch{std::move(call), config.gridDim, config.blockDim,
                                                      config.dynamicSmemBytes}] { run_kernel(launch); }));
}

}  // namespace emulator

using namespace emulator;

cudaError_t cudaFuncSetAttribute(const void* kernel, cudaFuncAttribute attribute, int value) {
  const std::lock_guard lock(api_mutex());
  if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize) return cudaSuccess;
  if (value < 0 || static_cast<std::size_t>(value) > shared_per_block_optin)
    return note(cudaErrorInvalidValue);
  allowed_shared()[kernel] = static_cast<std::size_t>(value);
  return cudaSuccess;
}
