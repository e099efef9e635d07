#include "grid.h"

#include <alloca.h>

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "device_memory.h"
#include "error.h"
#include "sanitizers.h"
#include "shared_memory.h"

// The storage of threadIdx and its siblings, under names by which it is not constant.
uint3 thread_index __asm__("kg_emulator_thread_index");
uint3 block_index __asm__("kg_emulator_block_index");
dim3 block_extent __asm__("kg_emulator_block_extent");
dim3 grid_extent __asm__("kg_emulator_grid_extent");

namespace emulator {

namespace {

namespace context = boost::context;

constexpr std::size_t stack_bytes = 256 * 1024;
constexpr unsigned warp_lanes = 32;
/// TSan's cost of every start, barrier and end grows with the number of its threads.
constexpr std::size_t max_tsan_fibers = 512;

/// Order in which blocks, and the threads of a block between two barriers, run.
enum class Order { forward, reverse, random };

/// A stack on which CUDA threads run: several, one after the other, as long as none must wait. Under TSan
/// just one, and the stack belongs to one of TSan's threads.
struct Fiber {
  context::fiber context;
  void* tsan_thread = nullptr;
  void* stack_bottom = nullptr;
  std::size_t stack_bytes = 0;
  void* asan_stack = nullptr;  ///< while the fiber is not running
};

/// Gives a fiber its stack, with a page behind it that must not be touched.
struct StackAllocator {
  Fiber* fiber;
  context::protected_fixedsize_stack pages{stack_bytes};

  context::stack_context allocate() {
    const context::stack_context stack = pages.allocate();
    fiber->stack_bytes = stack.size;
    fiber->stack_bottom = static_cast<char*>(stack.sp) - stack.size;
    return stack;
  }
  void deallocate(context::stack_context& stack) { pages.deallocate(stack); }
};

struct CudaThread {
  enum class State { not_started, ready, waiting, exited };

  State state;
  Fiber* fiber;
  // What it waits for, and with which arguments.
  Operation operation;
  unsigned mask;
  int argument;
  int width;
  std::uint64_t value;
  Location where;
  std::uint64_t result;
};

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

std::string text(const uint3& index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) +
         ")";
}

/// Small, fast, and the same everywhere (splitmix64).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t operator()() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t limit) { return static_cast<std::size_t>((*this)() % limit); }

 private:
  std::uint64_t state_;
};

/// Runs one grid at a time.
class Scheduler {
 public:
  void run(const Launch&);
  std::uint64_t wait(Operation, unsigned mask, std::uint64_t value, int argument, int width, const Location&);
  std::string place() const;

 private:
  void choose_order();
  void arrange(std::vector<unsigned>& items, std::size_t count);
  void run_block();
  Fiber& next_fiber();
  Fiber& new_fiber();
  void resume(Fiber&);
  void leave(Fiber&);
  void fiber_main(Fiber&);

  void complete_barrier();
  void complete_warp(unsigned warp, unsigned mask);
  void exchange(unsigned warp, unsigned mask);
  void order_memory(unsigned warp, unsigned mask);
  void wake(unsigned first, unsigned count, unsigned mask);
  [[noreturn]] void report_stuck();

  // Of the launch.
  const Launch* launch_ = nullptr;
  Order order_ = Order::forward;
  Random random_{0};
  std::uint64_t launches_ = 0;
  struct Syncs {
    std::uint64_t start = 0, end = 0;
  };
  std::unique_ptr<Syncs> launch_syncs_;  ///< TSan: of this launch alone
  std::vector<unsigned> block_order_;
  std::vector<uint3> thread_indices_;
  dim3 indexed_extent_{0, 0, 0};

  // Of the block.
  std::vector<CudaThread> threads_;
  std::vector<unsigned> start_order_;  ///< of the threads
  std::size_t started_ = 0;
  std::vector<unsigned> ready_;  ///< may go on: a ring with room for all threads
  std::size_t first_ready_ = 0;
  std::size_t ready_count_ = 0;
  std::size_t at_barrier_ = 0;
  std::size_t exited_ = 0;
  std::vector<unsigned> waiting_lanes_;  ///< by warp: at a warp operation
  unsigned current_ = 0;
  bool inside_ = false;  ///< a CUDA thread is running
  std::map<std::pair<unsigned, unsigned>, std::unique_ptr<std::uint64_t>> syncs_;  ///< TSan, by warp and mask

  // Fibers, kept from launch to launch.
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::size_t next_tsan_fiber_ = 0;
  context::fiber scheduler_;
  void* scheduler_tsan_thread_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_bytes_ = 0;
};

Scheduler& scheduler() {
  static Scheduler& scheduler = *new Scheduler;
  return scheduler;
}

void Scheduler::choose_order() {
  static const std::string wanted =
      std::getenv("KG_EMULATOR_ORDER") ? std::getenv("KG_EMULATOR_ORDER") : "mixed";
  static const std::uint64_t seed =
      std::getenv("KG_EMULATOR_SEED") ? std::strtoull(std::getenv("KG_EMULATOR_SEED"), nullptr, 10) : 0;
  ++launches_;
  random_ = Random(seed + launches_ * 0x51ed270b);
  if (wanted == "forward")
    order_ = Order::forward;
  else if (wanted == "reverse")
    order_ = Order::reverse;
  else if (wanted == "random")
    order_ = Order::random;
  else if (wanted == "mixed")
    order_ = static_cast<Order>(random_.below(3));
  else
    fail("KG_EMULATOR_ORDER is none of forward, reverse, random, mixed");
}

/// `items` becomes 0 ... count - 1 in the launch's order.
void Scheduler::arrange(std::vector<unsigned>& items, std::size_t count) {
  items.resize(count);
  if (order_ == Order::reverse)
    std::iota(items.rbegin(), items.rend(), 0u);
  else
    std::iota(items.begin(), items.end(), 0u);
  if (order_ == Order::random)
    for (std::size_t i = count; i > 1; --i) std::swap(items[i - 1], items[random_.below(i)]);
}

void Scheduler::run(const Launch& launch) {
  launch_ = &launch;
  choose_order();
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
  scheduler_tsan_thread_ = current_tsan_thread();
  if (with_tsan) {
    const Unobserved scope;
    launch_syncs_ = std::make_unique<Syncs>();
    release(&launch_syncs_->start);
  }
  const std::size_t blocks = std::size_t{launch.blocks.x} * launch.blocks.y * launch.blocks.z;
  arrange(block_order_, blocks);
  if (with_tsan)
    while (fibers_.size() < std::min(blocks * count, std::max(max_tsan_fibers, count + max_tsan_fibers / 2)))
      new_fiber();
  for (const unsigned block : block_order_) {
    block_index = {block % launch.blocks.x, block / launch.blocks.x % launch.blocks.y,
                   block / launch.blocks.x / launch.blocks.y};
    run_block();
  }
  if (with_tsan) acquire(&launch_syncs_->end);
  launch_ = nullptr;
}

void Scheduler::run_block() {
  begin_shared_memory(launch_->shared_bytes);
  for (CudaThread& thread : threads_) thread.state = CudaThread::State::not_started;
  arrange(start_order_, threads_.size());
  started_ = at_barrier_ = exited_ = 0;
  {
    const Unobserved scope;
    syncs_.clear();
  }
  while (true) {
    if (ready_count_ > 0) {
      current_ = ready_[first_ready_];
      if (++first_ready_ == ready_.size()) first_ready_ = 0;
      --ready_count_;
      threads_[current_].state = CudaThread::State::ready;
      resume(*threads_[current_].fiber);
    } else if (started_ < threads_.size()) {
      resume(next_fiber());
    } else {
      break;
    }
  }
  if (exited_ < threads_.size()) report_stuck();
  end_shared_memory();
}

/// A fiber that can start threads.
Fiber& Scheduler::next_fiber() {
  if (with_tsan) {
    // Round and round: neighbouring blocks run on different fibers, or what one thread did before another on
    // the same fiber would count as ordered.
    Fiber& fiber = *fibers_[next_tsan_fiber_];
    next_tsan_fiber_ = (next_tsan_fiber_ + 1) % fibers_.size();
    return fiber;
  }
  if (idle_.empty()) return new_fiber();
  Fiber& fiber = *idle_.back();
  idle_.pop_back();
  return fiber;
}

Fiber& Scheduler::new_fiber() {
  Fiber& fiber = *fibers_.emplace_back(std::make_unique<Fiber>());
  fiber.tsan_thread = new_tsan_thread();
  fiber.context =
      context::fiber(std::allocator_arg, StackAllocator{&fiber}, [this, &fiber](context::fiber&& caller) {
        scheduler_ = std::move(caller);
        // Stacks that all began at the same place of a page would compete for the
        // same few sets of the cache.
        [[maybe_unused]] void* volatile offset = alloca(fibers_.size() % 64 * 192);
        fiber_main(fiber);
        return std::move(scheduler_);
      });
  return fiber;
}

void Scheduler::resume(Fiber& fiber) {
  thread_index = thread_indices_[current_];
  inside_ = true;
  switch_tsan_thread(fiber.tsan_thread);
  void* own = nullptr;
  start_stack_switch(&own, fiber.stack_bottom, fiber.stack_bytes);
  fiber.context = std::move(fiber.context).resume();
  finish_stack_switch(own, nullptr, nullptr);
  inside_ = false;
}

/// Back from a fiber to run_block(), until it is resumed.
void Scheduler::leave(Fiber& fiber) {
  switch_tsan_thread(scheduler_tsan_thread_);
  start_stack_switch(&fiber.asan_stack, scheduler_stack_, scheduler_stack_bytes_);
  scheduler_ = std::move(scheduler_).resume();
  finish_stack_switch(fiber.asan_stack, &scheduler_stack_, &scheduler_stack_bytes_);
}

void Scheduler::fiber_main(Fiber& fiber) {
  finish_stack_switch(nullptr, &scheduler_stack_, &scheduler_stack_bytes_);
  while (true) {
    do {
      current_ = start_order_[started_++];
      CudaThread& thread = threads_[current_];
      thread.state = CudaThread::State::ready;
      thread.fiber = &fiber;
      thread_index = thread_indices_[current_];
      if (with_tsan) acquire(&launch_syncs_->start);
      launch_->call->run();
      if (with_tsan) release(&launch_syncs_->end);
      // The vector is not resized during a launch, but other threads have run meanwhile: `thread` still is
      // ours.
      thread.state = CudaThread::State::exited;
      ++exited_;
    } while (!with_tsan && started_ < threads_.size());
    if (!with_tsan) idle_.push_back(&fiber);
    leave(fiber);
  }
}

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
    if (++at_barrier_ == threads_.size()) complete_barrier();
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
  Fiber& fiber = *thread.fiber;
  leave(fiber);
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
  wake(0, static_cast<unsigned>(threads_.size()), ~0u);
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
  wake(warp * warp_lanes,
       std::min<unsigned>(static_cast<unsigned>(threads_.size()) - warp * warp_lanes, warp_lanes), mask);
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
  const unsigned count = warp == ~0u ? static_cast<unsigned>(threads_.size()) : warp_lanes;
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
  const std::size_t before = ready_count_;
  const auto slot = [&](std::size_t i) -> unsigned& {
    i += first_ready_;
    return ready_[i < ready_.size() ? i : i - ready_.size()];
  };
  for (unsigned i = 0; i < count; ++i) {
    const unsigned index = order_ == Order::reverse ? count - 1 - i : i;
    if (mask >> index % warp_lanes & 1) slot(ready_count_++) = first + index;
  }
  if (order_ == Order::random)
    for (std::size_t i = ready_count_; i > before + 1; --i)
      std::swap(slot(i - 1), slot(before + random_.below(i - before)));
}

std::string Scheduler::place() const {
  if (!launch_) return "";
  std::string place = " (kernel " + kernel_name(launch_->call->kernel) + ", block " + text(block_index);
  if (inside_) place += ", thread " + text(thread_indices_[current_]);
  return place + ")";
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

}  // namespace

void run_grid(const Launch& launch) { scheduler().run(launch); }

std::string place_in_kernel() { return scheduler().place(); }

int block_barrier(Operation operation, int value, const Location& where) {
  return static_cast<int>(
      scheduler().wait(operation, ~0u, static_cast<std::uint64_t>(value != 0), 0, warpSize, where));
}

std::uint64_t warp_operation(Operation operation, unsigned mask, std::uint64_t value, int argument, int width,
                             const Location& where) {
  return scheduler().wait(operation, mask, value, argument, width, where);
}

}  // namespace emulator
