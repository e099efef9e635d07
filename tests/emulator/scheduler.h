// SPDX-License-Identifier: MIT
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fiber.h"
#include "grid.h"
#include "order.h"

namespace emulator {

inline constexpr unsigned warp_lanes = 32;

struct CudaThread {
  enum class State { not_started, ready, waiting, exited };

  State state;
  Fiber* fiber;
  // What it waits for, with its part of it, and what it will get.
  Operation operation;
  unsigned mask;
  int argument;
  int width;
  std::uint64_t value;
  Location where;
  std::uint64_t result;
};

/// Runs one grid at a time: grid.cpp its blocks and threads, rendezvous.cpp their barriers and warp
/// operations.
class Scheduler {
 public:
  Scheduler();

  void run(const Launch&);
  /// Called by a CUDA thread: returns when all have arrived whom the operation waits for.
  std::uint64_t wait(Operation, unsigned mask, std::uint64_t value, int argument, int width, const Location&);
  /// Where the running CUDA thread is, for messages.
  std::string place() const;

 private:
  void run_block();
  void run_threads(Fiber&);
  void end_launch();

  void complete_barrier();
  void complete_warp(unsigned warp, unsigned mask);
  void exchange(unsigned warp, unsigned mask);
  void order_memory(unsigned warp, unsigned mask);
  void wake(unsigned first, unsigned count, unsigned mask);
  [[noreturn]] void report_stuck();

  unsigned thread_count() const { return static_cast<unsigned>(threads_.size()); }

  // Of the launch.
  const Launch* launch_ = nullptr;
  std::uint64_t launches_ = 0;
  Order order_;
  Fibers fibers_;
  std::vector<unsigned> block_order_;
  dim3 indexed_extent_{0, 0, 0};
  std::vector<uint3> thread_indices_;  ///< for blocks of that extent
  struct Syncs {
    std::uint64_t start = 0, end = 0;
  };
  std::unique_ptr<Syncs> launch_syncs_;  ///< TSan: of this launch alone

  // Of the block.
  std::vector<CudaThread> threads_;
  std::vector<unsigned> start_order_;
  unsigned started_ = 0;
  unsigned at_barrier_ = 0;
  unsigned exited_ = 0;
  std::vector<unsigned> waiting_lanes_;  ///< of each warp, at a warp operation
  std::vector<unsigned> ready_;          ///< who may go on: a ring with room for all
  std::size_t first_ready_ = 0;
  std::size_t ready_count_ = 0;
  unsigned current_ = 0;
  bool inside_ = false;  ///< a CUDA thread is running
  std::map<std::pair<unsigned, unsigned>, std::unique_ptr<std::uint64_t>> syncs_;  ///< TSan, by warp and mask
};

Scheduler& scheduler();

/// "(1, 0, 0)"
std::string text(const uint3&);

}  // namespace emulator
