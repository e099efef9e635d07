// SPDX-License-Identifier: MIT
#include "device_memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "error.h"
#include "sanitizers.h"

namespace emulator {

namespace {

constexpr std::size_t alignment = 256;  // as cudaMalloc's
constexpr std::size_t min_red_zone = 256;
/// How much freed memory rests before it is used again.
constexpr std::size_t max_resting_bytes = std::size_t{64} << 20;
constexpr std::size_t max_resting = 1024;

std::size_t round_up(std::size_t value, std::size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Chunks come in sizes of at most an eighth more than needed, so that freed ones fit later allocations.
std::size_t chunk_size(std::size_t bytes) {
  const std::size_t needed = bytes + min_red_zone;
  std::size_t step = alignment;
  while (step * 16 < needed) step *= 2;
  return round_up(needed, step);
}

/// The canary of the 8 bytes at an aligned address: in each half 0xffff and 16 bits of the address.
std::uint64_t canary(const std::byte* aligned) {
  const auto address = reinterpret_cast<std::uintptr_t>(aligned);
  const std::uint64_t bits = (address >> 2) + (address >> 18);
  return 0xffff0000ffff0000u | (bits & 0xffff) | ((bits + 1) & 0xffff) << 32;
}

/// Calls function(address, canary, size) for pieces of up to 8 bytes, until it returns true.
template <class Function>
void for_each_canary(std::byte* memory, std::size_t bytes, Function function) {
  std::byte* const end = memory + bytes;
  while (memory < end) {
    const std::size_t offset = reinterpret_cast<std::uintptr_t>(memory) % 8;
    const std::size_t size = std::min<std::size_t>(8 - offset, end - memory);
    if (function(memory, canary(memory - offset) >> 8 * offset, size)) return;
    memory += size;
  }
}

struct sigaction previous_handler;

/// Says what happened, then lets the fault happen again with whatever handler there was before.
void on_fault(int signal, siginfo_t* info, void*) {
  if (device_memory().contains(info->si_addr)) {
    char text[128];
    const int length = std::snprintf(
        text, sizeof text,
        "emulator: device memory at %p is touched by host code, or where nothing is allocated\n",
        info->si_addr);
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text, static_cast<std::size_t>(length));
  }
  sigaction(signal, &previous_handler, nullptr);
}

}  // namespace

void fill_canary(std::byte* memory, std::size_t bytes) {
  for_each_canary(memory, bytes, [](std::byte* at, std::uint64_t canary, std::size_t size) {
    if (size == 8)
      __builtin_memcpy(at, &canary, 8);
    else
      for (std::size_t i = 0; i < size; ++i) at[i] = static_cast<std::byte>(canary >> 8 * i);
    return false;
  });
}

const std::byte* find_damage(const std::byte* memory, std::size_t bytes) {
  const std::byte* damage = nullptr;
  for_each_canary(const_cast<std::byte*>(memory), bytes,
                  [&](std::byte* at, std::uint64_t canary, std::size_t size) {
                    std::uint64_t found = 0;
                    if (size == 8) {
                      __builtin_memcpy(&found, at, 8);
                      if (found == canary) return false;
                    }
                    for (std::size_t i = 0; i < size && !damage; ++i)
                      if (at[i] != static_cast<std::byte>(canary >> 8 * i)) damage = at + i;
                    return damage != nullptr;
                  });
  return damage;
}

void fill_uninitialised(std::byte* memory, std::size_t bytes) {
  const Unobserved scope;
  std::memset(memory, 0xff, bytes);
}

DeviceMemory::DeviceMemory() {
  void* const arena = mmap(nullptr, capacity, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (arena == MAP_FAILED) fail("cannot reserve address space for device memory");
  arena_ = static_cast<std::byte*>(arena);
  // Few pages make it cheap to change their protection at every synchronisation.
  madvise(arena_, capacity, MADV_HUGEPAGE);
  struct sigaction handler {};
  handler.sa_sigaction = on_fault;
  handler.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &handler, &previous_handler);
  // In front of the first allocation there is a red zone, too.
  take_from_arena(alignment);
}

std::byte* DeviceMemory::take_from_arena(std::size_t chunk) {
  if (chunk > capacity - taken_) return nullptr;
  std::byte* const memory = arena_ + taken_;
  taken_ += chunk;
  if (with_asan) poison(memory, chunk);
  if (access_depth_ > 0 && taken_ > accessible_) unlock();
  return memory;
}

Allocation* DeviceMemory::reserve(std::size_t bytes) {
  if (bytes > capacity) return nullptr;
  const std::size_t chunk = chunk_size(bytes);
  Allocation* allocation = nullptr;
  if (auto& candidates = free_[chunk]; !candidates.empty()) {
    allocation = candidates.back();
    candidates.pop_back();
  } else if (std::byte* const memory = take_from_arena(chunk)) {
    allocation = &allocations_.emplace(memory, Allocation{memory, 0, chunk, Allocation::State::reserved})
                      .first->second;
  } else {
    return nullptr;
  }
  allocation->bytes = bytes;
  allocation->state = Allocation::State::reserved;
  return allocation;
}

void DeviceMemory::begin(Allocation& allocation) {
  acquire(&allocation.sync);
  unpoison(allocation.memory, allocation.bytes);
  fill_uninitialised(allocation.memory, allocation.bytes);
  if (!with_asan) fill_canary(allocation.memory + allocation.bytes, min_red_zone);
  allocation.state = Allocation::State::live;
  used_ += allocation.bytes;
}

void DeviceMemory::end(Allocation& allocation) {
  if (allocation.state != Allocation::State::live) fail("device memory is freed twice");
  check_red_zone(allocation);
  release(&allocation.sync);
  if (with_asan)
    poison(allocation.memory, allocation.chunk);
  else
    fill_canary(allocation.memory, allocation.bytes);
  allocation.state = Allocation::State::freed;
  used_ -= allocation.bytes;
}

void DeviceMemory::recycle(Allocation& allocation) {
  // A graph gives its memory back when the program destroys it: in host code, unlike memory that is freed.
  const DeviceAccess access;
  // One that never ran gives back memory that has never been used.
  if (!with_asan && allocation.state == Allocation::State::reserved)
    fill_canary(allocation.memory, allocation.bytes);
  allocation.state = Allocation::State::freed;
  resting_.push_back(&allocation);
  resting_bytes_ += allocation.chunk;
  while (resting_bytes_ > max_resting_bytes || resting_.size() > max_resting) {
    Allocation& rested = *resting_.front();
    resting_.pop_front();
    resting_bytes_ -= rested.chunk;
    if (!with_asan)
      if (find_damage(rested.memory, rested.bytes))
        fail("device memory was written after it had been freed (an allocation of " +
             std::to_string(rested.bytes) + " bytes)");
    free_[rested.chunk].push_back(&rested);
  }
}

Allocation* DeviceMemory::find(const void* address) {
  auto next = allocations_.upper_bound(address);
  if (next == allocations_.begin()) return nullptr;
  Allocation& candidate = std::prev(next)->second;
  return address < candidate.memory + candidate.chunk ? &candidate : nullptr;
}

void DeviceMemory::check_red_zone(const Allocation& allocation, const void* kernel) const {
  if (with_asan || allocation.state != Allocation::State::live) return;
  const std::byte* const end = allocation.memory + allocation.bytes;
  if (const std::byte* const damage = find_damage(end, min_red_zone))
    fail("device memory was written " + std::to_string(damage - end) +
         " bytes behind the end of an allocation of " + std::to_string(allocation.bytes) + " bytes" +
         (kernel ? ", by kernel " + kernel_name(kernel) : ""));
}

void DeviceMemory::check_all_red_zones() const {
  for (const auto& [memory, allocation] : allocations_) check_red_zone(allocation);
}

void DeviceMemory::unlock() {
  // In large steps, and what is accessible already only if it has been locked since.
  constexpr std::size_t step = std::size_t{32} << 20;
  const std::size_t needed = std::min(round_up(taken_, step), capacity), first = locked_ ? 0 : accessible_;
  if (first >= needed) return;
  locked_ = false;
  accessible_ = needed;
  if (mprotect(arena_ + first, needed - first, PROT_READ | PROT_WRITE) != 0) fail("mprotect failed");
}

void DeviceMemory::lock() {
  // A change of protection takes a hundred microseconds on a virtual machine, far more than a small kernel.
  // Code that touches device memory does so early, and again and again.
  constexpr std::uint64_t always_locked = 64, locked_every = 4096;
  if (++releases_ > always_locked && releases_ % locked_every != 0) return;
  locked_ = true;
  if (mprotect(arena_, accessible_, PROT_NONE) != 0) fail("mprotect failed");
}

DeviceMemory& device_memory() {
  static DeviceMemory& memory = *new DeviceMemory;
  return memory;
}

}  // namespace emulator
