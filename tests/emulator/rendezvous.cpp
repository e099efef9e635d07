// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "error.h"
#include "sanitizers.h"
#include "scheduler.h"

/// Barriers and warp operations. A thread that arrives notes what it waits for; the last to arrive does the
/// work for all. When nobody can go on and not all have ended, the threads diverge.
namespace emulator {

namespace {

bool is_barrier(Operation operation) { return operation <= Operation::syncthreads_or; }

const char* name_of(Operation operation) {
  static constexpr const char* names[] = {"__syncthreads",    "__syncthreads_count", "__syncthreads_and",
                                          "__syncthreads_or", "__syncwarp",          "__shfl_sync",
                                          "__shfl_xor_sync",  "__shfl_up_sync",      "__shfl_down_sync",
                                          "__ballot_sync",    "__any_sync",          "__all_sync"};
  return names[static_cast<int>(operation)];
}

bool same_place(const Location& a, const Location& b) {
  return a.line() == b.line() && a.column() == b.column() &&
         (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

std::string text(const Location& where) {
  return std::string(where.file_name()) + ":" + std::to_string(where.line());
}

}  // namespace

std::uint64_t Scheduler::wait(Operation operation, unsigned mask, std::uint64_t value, int argument,
                              int width, const Location& where) {
  if (!inside_) fail(std::string(name_of(operation)) + " outside a kernel, at " + text(where));
  CudaThread& thread = threads_[current_];
  const unsigned warp = current_ / warp_lanes, lane = current_ % warp_lanes;
  thread.operation = operation;
  thread.mask = mask;
  thread.argument = argument;
  thread.width = width;
  thread.value = value;
  thread.where = where;
  if (is_barrier(operation)) {
    thread.state = CudaThread::State::waiting;
    if (++at_barrier_ == thread_count()) complete_barrier();
  } else {
    const std::size_t lanes = std::min<std::size_t>(threads_.size() - warp * warp_lanes, warp_lanes);
    if (!(mask >> lane & 1))
      fail(std::string(name_of(operation)) + " at " + text(where) +
           " with a mask that does not name the calling lane");
    if (lanes < warp_lanes && mask >> lanes != 0)
      fail(std::string(name_of(operation)) + " at " + text(where) +
           " with a mask that names lanes outside the block");
    if (width <= 0 || width > static_cast<int>(warp_lanes) || (width & (width - 1)) != 0)
      fail(std::string(name_of(operation)) + " at " + text(where) +
           " with a width that is no power of two up to 32");
    thread.state = CudaThread::State::waiting;
    waiting_lanes_[warp] |= 1u << lane;
    if ((waiting_lanes_[warp] & mask) == mask) complete_warp(warp, mask);
  }
  fibers_.leave(*thread.fiber);
  return thread.result;
}

/// All threads are at a barrier: the same one, or the kernel is wrong.
void Scheduler::complete_barrier() {
  const CudaThread& first = threads_.front();
  std::uint64_t count = 0;
  for (const CudaThread& thread : threads_) {
    if (thread.operation != first.operation || !same_place(thread.where, first.where)) report_stuck();
    count += thread.value != 0;
  }
  std::uint64_t result = count;
  if (first.operation == Operation::syncthreads_and) result = count == threads_.size();
  if (first.operation == Operation::syncthreads_or) result = count > 0;
  for (CudaThread& thread : threads_) thread.result = result;
  if (with_tsan) order_memory(~0u, ~0u);
  at_barrier_ = 0;
  wake(0, thread_count(), ~0u);
}

/// The lanes of `mask` all wait: if for the same thing, it happens.
void Scheduler::complete_warp(unsigned warp, unsigned mask) {
  const CudaThread* first = nullptr;
  for (unsigned lane = 0; lane < warp_lanes; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const CudaThread& thread = threads_[warp * warp_lanes + lane];
    if (!first) first = &thread;
    if (thread.operation != first->operation || thread.mask != mask ||
        !same_place(thread.where, first->where))
      return;
  }
  exchange(warp, mask);
  if (with_tsan && first->operation == Operation::syncwarp) order_memory(warp, mask);
  waiting_lanes_[warp] &= ~mask;
  wake(warp * warp_lanes, std::min<unsigned>(thread_count() - warp * warp_lanes, warp_lanes), mask);
}

/// The results of a warp operation, for all its lanes.
void Scheduler::exchange(unsigned warp, unsigned mask) {
  CudaThread* const lanes = &threads_[warp * warp_lanes];
  unsigned votes = 0;
  for (unsigned lane = 0; lane < warp_lanes; ++lane)
    if (mask >> lane & 1) votes |= (lanes[lane].value != 0 ? 1u : 0u) << lane;
  for (int lane = 0; lane < static_cast<int>(warp_lanes); ++lane) {
    if (!(mask >> lane & 1)) continue;
    CudaThread& thread = lanes[lane];
    const int begin = lane / thread.width * thread.width, end = begin + thread.width;
    int source = lane;
    switch (thread.operation) {
      case Operation::ballot:
        thread.result = votes;
        continue;
      case Operation::any:
        thread.result = votes != 0;
        continue;
      case Operation::all:
        thread.result = votes == mask;
        continue;
      case Operation::shuffle:
        source = begin + (thread.argument & (thread.width - 1));
        break;
      case Operation::shuffle_xor:
        source = lane ^ thread.argument;
        if (source >= end) source = lane;  // earlier segments may be read, later ones not
        break;
      case Operation::shuffle_up:
        source = lane - thread.argument < begin ? lane : lane - thread.argument;
        break;
      case Operation::shuffle_down:
        source = lane + thread.argument >= end ? lane : lane + thread.argument;
        break;
      default:
        continue;
    }
    // A lane that does not take part gives an undefined value: not-a-number.
    thread.result = mask >> source & 1 ? lanes[source].value : ~std::uint64_t{0};
  }
}

/// Everything that the lanes (of a warp, or all threads of the block) did so far comes before what they do
/// next.
void Scheduler::order_memory(unsigned warp, unsigned mask) {
  // An address for each group of threads: a barrier must order no others.
  const auto address_of = [&] {
    const Unobserved scope;
    std::unique_ptr<std::uint64_t>& sync = syncs_[{warp, mask}];
    if (!sync) sync = std::make_unique<std::uint64_t>();
    return sync.get();
  };
  std::uint64_t* const sync = address_of();
  const unsigned first = warp == ~0u ? 0 : warp * warp_lanes;
  const unsigned count = warp == ~0u ? thread_count() : warp_lanes;
  const auto for_each = [&](auto&& action) {
    for (unsigned i = 0; i < count; ++i) {
      if (!(mask >> i % warp_lanes & 1)) continue;
      switch_tsan_thread(threads_[first + i].fiber->tsan_thread);
      action(sync);
    }
  };
  for_each(release);
  for_each(acquire);
  switch_tsan_thread(threads_[current_].fiber->tsan_thread);
}

/// The threads may go on, in the launch's order.
void Scheduler::wake(unsigned first, unsigned count, unsigned mask) {
  const std::size_t begin = first_ready_ + ready_count_;
  const auto slot = [&](std::size_t i) -> unsigned& {
    i += begin;
    return ready_[i < ready_.size() ? i : i - ready_.size()];
  };
  unsigned woken = 0;
  for (unsigned i = 0; i < count; ++i)
    if (mask >> i % warp_lanes & 1) slot(woken++) = first + i;
  order_.arrange(woken, slot);
  ready_count_ += woken;
}

/// Nobody can go on: says who waits where.
void Scheduler::report_stuck() {
  inside_ = false;
  std::string message = "the threads of a block diverge:";
  std::map<std::string, std::vector<unsigned>> groups;
  for (unsigned i = 0; i < threads_.size(); ++i) {
    const CudaThread& thread = threads_[i];
    std::string state = "has returned";
    if (thread.state == CudaThread::State::waiting) {
      state = std::string("waits at ") + name_of(thread.operation) + ", " + text(thread.where);
      if (!is_barrier(thread.operation)) {
        char mask[32];
        std::snprintf(mask, sizeof mask, ", mask 0x%08x", thread.mask);
        state += mask;
      }
    }
    groups[state].push_back(i);
  }
  for (const auto& [state, members] : groups)
    message += "\n  " + std::to_string(members.size()) + " thread" + (members.size() == 1 ? "" : "s") +
               ", the first " + text(thread_indices_[members.front()]) + ": " + state;
  fail(message);
}

int block_barrier(Operation operation, int value, const Location& where) {
  return static_cast<int>(
      scheduler().wait(operation, ~0u, static_cast<std::uint64_t>(value != 0), 0, warpSize, where));
}

std::uint64_t warp_operation(Operation operation, unsigned mask, std::uint64_t value, int argument, int width,
                             const Location& where) {
  return scheduler().wait(operation, mask, value, argument, width, where);
}

}  // namespace emulator
