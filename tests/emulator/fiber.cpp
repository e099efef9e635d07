// SPDX-License-Identifier: MIT
#include "fiber.h"

#include <alloca.h>

#include <algorithm>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <utility>

#include "sanitizers.h"

namespace emulator {

namespace {

constexpr std::size_t stack_bytes = 256 * 1024;
/// What TSan does at every start, barrier and end takes time in proportion to the number of its threads.
constexpr std::size_t max_tsan_fibers = 512;

/// Gives a fiber its stack, with a page behind it that must not be touched.
struct StackAllocator {
  Fiber* fiber;
  boost::context::protected_fixedsize_stack pages{stack_bytes};

  boost::context::stack_context allocate() {
    const boost::context::stack_context stack = pages.allocate();
    fiber->stack_bytes = stack.size;
    fiber->stack_bottom = static_cast<char*>(stack.sp) - stack.size;
    return stack;
  }
  void deallocate(boost::context::stack_context& stack) { pages.deallocate(stack); }
};

}  // namespace

void Fibers::begin_launch(std::size_t threads, std::size_t block_threads) {
  outside_tsan_thread_ = current_tsan_thread();
  if (!with_tsan) return;
  // What runs on the same fiber counts as ordered: a block and the one after it must have different ones.
  const std::size_t wanted =
      std::min(threads, std::max(max_tsan_fibers, block_threads + max_tsan_fibers / 2));
  while (all_.size() < wanted) create();
}

Fiber& Fibers::take() {
  if (with_tsan) {
    // Round and round, so that those used last come last.
    Fiber& fiber = *all_[next_];
    next_ = (next_ + 1) % all_.size();
    return fiber;
  }
  if (idle_.empty()) return create();
  Fiber& fiber = *idle_.back();
  idle_.pop_back();
  return fiber;
}

void Fibers::give_back(Fiber& fiber) {
  if (!with_tsan) idle_.push_back(&fiber);
}

Fiber& Fibers::create() {
  Fiber& fiber = *all_.emplace_back(std::make_unique<Fiber>());
  fiber.tsan_thread = new_tsan_thread();
  fiber.context = boost::context::fiber(
      std::allocator_arg, StackAllocator{&fiber}, [this, &fiber](boost::context::fiber&& outside) {
        outside_ = std::move(outside);
        finish_stack_switch(nullptr, &outside_stack_, &outside_stack_bytes_);
        // Stacks that all began at the same place of a page would compete for the same few sets of the cache.
        [[maybe_unused]] void* volatile offset = alloca(all_.size() % 64 * 192);
        main_(fiber);
        return std::move(outside_);
      });
  return fiber;
}

void Fibers::resume(Fiber& fiber) {
  switch_tsan_thread(fiber.tsan_thread);
  void* own = nullptr;
  start_stack_switch(&own, fiber.stack_bottom, fiber.stack_bytes);
  fiber.context = std::move(fiber.context).resume();
  finish_stack_switch(own, nullptr, nullptr);
}

void Fibers::leave(Fiber& fiber) {
  switch_tsan_thread(outside_tsan_thread_);
  start_stack_switch(&fiber.asan_stack, outside_stack_, outside_stack_bytes_);
  outside_ = std::move(outside_).resume();
  finish_stack_switch(fiber.asan_stack, &outside_stack_, &outside_stack_bytes_);
}

}  // namespace emulator
