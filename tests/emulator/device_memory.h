// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

/// Device memory: one arena of address space, out of reach for host code except while the emulator runs
/// queued work. Behind every allocation lies a red zone; freed memory rests for a while before it is used
/// again.
namespace emulator {

class GraphBody;

struct Allocation {
  enum class State { reserved, live, freed };

  std::byte* memory;
  std::size_t bytes;  ///< as asked for
  std::size_t chunk;  ///< with the red zone
  State state;
  GraphBody* graph = nullptr;  ///< the graph whose replays allocate it
  std::uint64_t sync = 0;      ///< TSan: orders the use of the memory before its next use
};

class DeviceMemory {
 public:
  static constexpr std::size_t capacity = std::size_t{4} << 30;

  DeviceMemory();

  /// An address for `bytes`, nullptr if there is none left. Not yet accessible.
  Allocation* reserve(std::size_t bytes);
  /// The allocation begins: accessible, filled with NaN.
  void begin(Allocation&);
  /// The allocation ends: from here on accesses are errors. The address stays taken until recycle().
  void end(Allocation&);
  void recycle(Allocation&);

  bool contains(const void* address) const { return address >= arena_ && address < arena_ + capacity; }
  /// The allocation in whose memory or red zone the address lies, nullptr if there is none.
  Allocation* find(const void* address);
  /// Fails if something was written behind the allocation, by `kernel` if that is known.
  void check_red_zone(const Allocation&, const void* kernel = nullptr) const;
  void check_all_red_zones() const;
  /// Bytes allocated and not freed.
  std::size_t used() const { return used_; }

 private:
  friend class DeviceAccess;
  void unlock();
  void lock();
  std::byte* take_from_arena(std::size_t chunk);

  std::byte* arena_;
  std::size_t taken_ = 0;       ///< the arena's part that was ever given out
  std::size_t accessible_ = 0;  ///< the part that lock() must protect
  int access_depth_ = 0;
  bool locked_ = true;
  std::uint64_t releases_ = 0;  ///< how often host code got its turn again
  std::size_t used_ = 0;
  std::size_t resting_bytes_ = 0;
  std::map<const void*, Allocation> allocations_;
  std::deque<Allocation*> resting_;
  std::map<std::size_t, std::vector<Allocation*>> free_;  ///< by size of chunk
};

DeviceMemory& device_memory();

/// While one exists, device memory can be accessed. Before and after, the first time and from time to time,
/// it is protected from host code.
class DeviceAccess {
 public:
  DeviceAccess() {
    if (device_memory().access_depth_++ == 0) device_memory().unlock();
  }
  ~DeviceAccess() {
    if (--device_memory().access_depth_ == 0) device_memory().lock();
  }
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

/// What stands in red zones and in freed memory: not-a-number as float and as double, different at every
/// address, so that copying one red zone into another shows.
void fill_canary(std::byte* memory, std::size_t bytes);
/// The first byte that is no longer as fill_canary() left it, nullptr if all are.
const std::byte* find_damage(const std::byte* memory, std::size_t bytes);
/// What stands in memory that nobody has written yet: 0xFF, also not-a-number, and -1 as an integer.
void fill_uninitialised(std::byte* memory, std::size_t bytes);

}  // namespace emulator
