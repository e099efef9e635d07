// SPDX-License-Identifier: MIT
#include "shared_memory.h"

#include <sys/mman.h>

#include <kernelgrad/cuda/shared_memory.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "device_memory.h"
#include "error.h"
#include "sanitizers.h"

/// Each block gets the next piece of a ring, so that TSan sees other addresses in every block; a new round
/// starts with fresh pages, on which TSan forgets earlier accesses. Arrays are apart by a red zone.
namespace emulator {

namespace {

constexpr std::size_t ring_bytes = std::size_t{4} << 20;
constexpr std::size_t red_zone = 128;
constexpr std::size_t max_arrays = 32;

struct Array {
  std::size_t offset, bytes;  ///< in a GPU's shared memory
  std::byte* memory;
};

struct SharedMemoryOfBlock {
  std::byte* ring = nullptr;
  std::size_t used = 0;  ///< of the ring
  std::size_t requested = 0;
  std::byte* region = nullptr;
  std::size_t region_bytes = 0;
  std::vector<Array> arrays;

  void next_round() {
    // Over the old pages, if there are any. Unobserved, or TSan would take it for a write instead of a new
    // start.
    const Unobserved scope;
    void* const pages = mmap(ring, ring_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | (ring ? MAP_FIXED : 0), -1, 0);
    if (pages == MAP_FAILED) fail("cannot map shared memory");
    ring = static_cast<std::byte*>(pages);
    used = 0;
  }
} block;

}  // namespace

void begin_shared_memory(std::size_t bytes) {
  block.arrays.clear();
  block.requested = bytes;
  block.region = nullptr;
  if (bytes == 0) return;
  block.region_bytes = (bytes + (max_arrays + 1) * red_zone + 255) / 256 * 256;
  // Without TSan one piece of memory serves all blocks.
  if (!block.ring || (with_tsan && block.used + block.region_bytes > ring_bytes)) block.next_round();
  block.region = block.ring + block.used;
  if (with_tsan) block.used += block.region_bytes;
  if (with_asan) poison(block.region, block.region_bytes);
}

void end_shared_memory() {
  if (with_asan) return;
  for (const Array& array : block.arrays) {
    const std::byte* const end = array.memory + array.bytes;
    const std::size_t behind = kg::cuda::align_shared(array.bytes) - array.bytes + red_zone;
    const std::byte* damage = find_damage(end, behind);
    if (!damage && &array == block.arrays.data()) damage = find_damage(array.memory - red_zone, red_zone);
    if (damage)
      fail("shared memory was written " + std::to_string(damage - array.memory) +
           " bytes from the start of array " + std::to_string(&array - block.arrays.data()) + ", which has " +
           std::to_string(array.bytes) + " bytes");
  }
}

void* shared_array(std::size_t index, std::size_t offset, std::size_t bytes) {
  const Unobserved scope;
  if (index < block.arrays.size()) {
    const Array& array = block.arrays[index];
    if (array.offset != offset || array.bytes != bytes)
      fail("the threads of a block ask for different shared arrays: array " + std::to_string(index) + " of " +
           std::to_string(bytes) + " bytes, of " + std::to_string(array.bytes) + " in another thread");
    return array.memory;
  }
  const std::size_t padded = kg::cuda::align_shared(bytes);
  if (offset + padded > block.requested)
    fail("the kernel uses " + std::to_string(offset + padded) +
         " bytes of shared memory or more, the launch gave it " + std::to_string(block.requested));
  if (index >= max_arrays) fail("the emulator has room for " + std::to_string(max_arrays) + " shared arrays");
  std::byte* const memory = block.region + offset + (index + 1) * red_zone;
  unpoison(memory, bytes);
  fill_uninitialised(memory, bytes);
  if (!with_asan) {
    if (index == 0) fill_canary(memory - red_zone, red_zone);
    fill_canary(memory + bytes, padded - bytes + red_zone);
  }
  block.arrays.push_back({offset, bytes, memory});
  return memory;
}

}  // namespace emulator
