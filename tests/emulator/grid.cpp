// SPDX-License-Identifier: MIT
#include "grid.h"

#include <cstdio>
#include <cstring>
#include <string>

#include "error.h"
#include "sanitizers.h"
#include "scheduler.h"
#include "shared_memory.h"

/// Blocks run one after the other. The threads of a block start in the launch's order; one that must wait
/// leaves its fiber to itself, and the rest start on another.

// The storage of threadIdx and its siblings, under names by which it is not constant.
uint3 thread_index __asm__("kg_emulator_thread_index");
uint3 block_index __asm__("kg_emulator_block_index");
dim3 block_extent __asm__("kg_emulator_block_extent");
dim3 grid_extent __asm__("kg_emulator_grid_extent");

namespace emulator {

Scheduler& scheduler() {
  static Scheduler& scheduler = *new Scheduler;
  return scheduler;
}

Scheduler::Scheduler() : fibers_([this](Fiber& fiber) { run_threads(fiber); }) {
  // A sanitizer's report names the line; this adds the kernel, the block and the thread.
  before_report([] { std::fprintf(stderr, "emulator: an invalid access%s\n", place_in_kernel().c_str()); });
}

void Scheduler::run(const Launch& launch) {
  launch_ = &launch;
  order_.begin_launch(++launches_);
  grid_extent = launch.blocks;
  block_extent = launch.threads;
  const std::size_t count = std::size_t{launch.threads.x} * launch.threads.y * launch.threads.z;
  if (std::memcmp(&indexed_extent_, &launch.threads, sizeof(dim3)) != 0) {
    indexed_extent_ = launch.threads;
    thread_indices_.clear();
    for (unsigned z = 0; z < launch.threads.z; ++z)
      for (unsigned y = 0; y < launch.threads.y; ++y)
        for (unsigned x = 0; x < launch.threads.x; ++x) thread_indices_.push_back({x, y, z});
  }
  threads_.resize(count);
  ready_.resize(count);
  first_ready_ = 0;
  waiting_lanes_.assign((count + warp_lanes - 1) / warp_lanes, 0);
  const std::size_t blocks = std::size_t{launch.blocks.x} * launch.blocks.y * launch.blocks.z;
  order_.arrange(block_order_, blocks);
  fibers_.begin_launch(blocks * count, count);
  if (with_tsan) {
    launch_syncs_ = std::make_unique<Syncs>();
    release(&launch_syncs_->start);
  }
  for (const unsigned block : block_order_) {
    block_index = {block % launch.blocks.x, block / launch.blocks.x % launch.blocks.y,
                   block / launch.blocks.x / launch.blocks.y};
    run_block();
  }
  end_launch();
}

/// What the grid has done comes before what the stream does next. Blocks do not wait for one another, so that
/// this must not happen block by block.
void Scheduler::end_launch() {
  if (with_tsan) {
    for (const auto& fiber : fibers_.all()) {
      if (fiber->launch != launches_) continue;
      switch_tsan_thread(fiber->tsan_thread);
      release(&launch_syncs_->end);
    }
    switch_tsan_thread(fibers_.outside_tsan_thread());
    acquire(&launch_syncs_->end);
  }
  launch_ = nullptr;
}

void Scheduler::run_block() {
  begin_shared_memory(launch_->shared_bytes);
  for (CudaThread& thread : threads_) thread.state = CudaThread::State::not_started;
  order_.arrange(start_order_, threads_.size());
  started_ = at_barrier_ = exited_ = 0;
  syncs_.clear();
  while (ready_count_ > 0 || started_ < thread_count()) {
    Fiber* fiber = nullptr;
    if (ready_count_ > 0) {
      current_ = ready_[first_ready_];
      if (++first_ready_ == ready_.size()) first_ready_ = 0;
      --ready_count_;
      threads_[current_].state = CudaThread::State::ready;
      thread_index = thread_indices_[current_];
      fiber = threads_[current_].fiber;
    } else {
      fiber = &fibers_.take();
    }
    inside_ = true;
    fibers_.resume(*fiber);
    inside_ = false;
  }
  if (exited_ < thread_count()) report_stuck();
  end_shared_memory();
}

/// What a fiber does: starts one thread after the other, for ever.
void Scheduler::run_threads(Fiber& fiber) {
  while (true) {
    do {
      current_ = start_order_[started_++];
      thread_index = thread_indices_[current_];
      CudaThread& thread = threads_[current_];
      thread.state = CudaThread::State::ready;
      thread.fiber = &fiber;
      // Once a launch is enough: what else runs on this fiber comes later.
      if (with_tsan && fiber.launch != launches_) acquire(&launch_syncs_->start);
      fiber.launch = launches_;
      launch_->call->run();
      thread.state = CudaThread::State::exited;
      ++exited_;
    } while (!with_tsan && started_ < thread_count());
    fibers_.give_back(fiber);
    fibers_.leave(fiber);
  }
}

std::string text(const uint3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) +
         ")";
}

std::string Scheduler::place() const {
  if (!launch_) return "";
  std::string place = " (kernel " + kernel_name(launch_->call->kernel) + ", block " + text(block_index);
  if (inside_) place += ", thread " + text(thread_indices_[current_]);
  return place + ")";
}

void run_grid(const Launch& launch) { scheduler().run(launch); }

std::string place_in_kernel() { return scheduler().place(); }

}  // namespace emulator
