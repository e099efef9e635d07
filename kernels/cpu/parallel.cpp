// SPDX-License-Identifier: MIT
#include "kernels/parallel.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "kernels/cpu/cpu_count.h"

namespace kg::kernels::cpu {

namespace {

/// How long a thread looks for the next loop before it sleeps: a little longer than the pauses between the
/// loops of a training step, for waking a thread takes as long as a short loop.
constexpr std::chrono::microseconds patience{50};

int cpus() {
  static const int count = usable_cpus();
  return count;
}

/// Threads that take part in a loop. With more than CPUs, they take turns, at a cost. A few all the same, so
/// that a loop's threads meet each other on every machine that tests run on.
int most_useful_threads() { return std::max(cpus(), 4); }

/// Calls ready() until it returns true or patience runs out. Not where others wait for the CPU.
template <class Ready>
bool soon(bool enough_cpus, const Ready& ready) {
  if (!enough_cpus) return ready();
  const auto deadline = std::chrono::steady_clock::now() + patience;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

/// The indices of a loop that a thread takes first, before it helps others with theirs.
struct alignas(64) Part {
  std::atomic<std::int64_t> taken = 0;
};

/// One loop being run. Each thread has a part of its own, the same in every loop, and begins it where it
/// ended that of the loop before: there lies what its near cache still holds. On two cores, an epoch of
/// s7_final takes 9 % less than where the threads take indices in turn.
class Loop {
 public:
  static constexpr int max_parts = 64;

  Loop(std::int64_t count, LoopBody body, int helpers, bool backwards)
      : count_(count),
        body_(body),
        backwards_(backwards),
        helpers_wanted_(helpers),
        part_count_(std::min(helpers + 1, max_parts)) {}

  /// Runs what is left of the loop, on whichever thread calls.
  void work(int thread) {
    try {
      for (int k = 0; k < part_count_; ++k) run_part((thread + k) % part_count_);
    } catch (...) {
      for (Part& part : parts_) part.taken = count_;
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  bool wants_helper() { return helpers_wanted_ > 0; }
  void helper_joins() { --helpers_wanted_; }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void run_part(int part) {
    const std::int64_t whole = count_ / part_count_, more = count_ % part_count_;
    const std::int64_t begin = part * whole + std::min<std::int64_t>(part, more),
                       size = whole + (part < more ? 1 : 0);
    std::atomic<std::int64_t>& taken = parts_[static_cast<std::size_t>(part)].taken;
    for (std::int64_t i = taken++; i < size; i = taken++)
      body_.call(body_.body, begin + (backwards_ ? size - 1 - i : i));
  }

  const std::int64_t count_;
  const LoopBody body_;
  const bool backwards_;
  int helpers_wanted_;  // under the pool's mutex
  const int part_count_;
  std::array<Part, max_parts> parts_;
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

/// Threads that help with one loop at a time. They end with the process: a pool is never destroyed.
class Pool {
 public:
  explicit Pool(const Pool* of_parent) : of_parent_(of_parent) {}

  /// Runs the loop with up to `helpers` threads besides the calling one. False if the pool is busy with
  /// another.
  bool run(std::int64_t count, LoopBody body, int helpers, bool backwards) {
    if (busy_.exchange(true)) return false;
    Loop loop(count, body, helpers, backwards);
    {
      const std::lock_guard lock(mutex_);
      make_threads(helpers);
      enough_cpus_ = helpers < cpus();
      loop_ = &loop;
      ++announcements_;
    }
    announced_.notify_all();
    loop.work(0);
    soon(enough_cpus_, [this] { return helping_.load() == 0; });
    {
      // From here on nobody can join; who has not joined by now is not waited for.
      std::unique_lock lock(mutex_);
      loop_ = nullptr;
      finished_.wait(lock, [this] { return helping_ == 0; });
    }
    busy_ = false;
    loop.rethrow();
    return true;
  }

 private:
  /// Up to `wanted` in all. Where the system has no more, it is not asked again for a second.
  void make_threads(int wanted) noexcept {
    if (static_cast<int>(threads_.size()) >= wanted || std::chrono::steady_clock::now() < next_attempt_)
      return;
    try {
      while (static_cast<int>(threads_.size()) < wanted)
        threads_.emplace_back([this, number = static_cast<int>(threads_.size()) + 1] { help(number); });
    } catch (const std::system_error&) {
      next_attempt_ = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    } catch (const std::bad_alloc&) {
      next_attempt_ = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    }
  }

  void help(int number) {
    for (std::uint64_t seen = 0;;) {
      soon(enough_cpus_, [&] { return announcements_.load() != seen; });
      std::unique_lock lock(mutex_);
      announced_.wait(lock, [&] { return announcements_ != seen; });
      seen = announcements_;
      if (!loop_ || !loop_->wants_helper()) continue;
      Loop& loop = *loop_;
      loop.helper_joins();
      ++helping_;
      lock.unlock();
      loop.work(number);
      lock.lock();
      if (--helping_ == 0) finished_.notify_one();
    }
  }

  std::atomic<bool> busy_ = false;  // with a loop, be it one around this one
  std::mutex mutex_;                // of what follows; the atomics are also looked at without it
  std::condition_variable announced_, finished_;
  std::vector<std::thread> threads_;
  std::chrono::steady_clock::time_point next_attempt_ = {};
  Loop* loop_ = nullptr;
  std::atomic<bool> enough_cpus_ = true;
  std::atomic<std::uint64_t> announcements_ = 0;
  std::atomic<int> helping_ = 0;
  [[maybe_unused]] const Pool* of_parent_;  // kept for leak checkers: its threads are not there to be joined
};

std::atomic<Pool*> current_pool = nullptr, pool_of_parent = nullptr;

/// fork() copies the pool and none of its threads, and whatever was locked stays so.
[[maybe_unused]] const int fork_handled =
    ::pthread_atfork(nullptr, nullptr, [] { pool_of_parent = current_pool.exchange(nullptr); });

/// Null where there is no memory for one.
Pool* pool() {
  Pool* existing = current_pool;
  if (existing) return existing;
  Pool* const made = new (std::nothrow) Pool(pool_of_parent);
  if (!made || current_pool.compare_exchange_strong(existing, made)) return made;
  delete made;
  return existing;
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count =
      default_threads(std::getenv("OMP_NUM_THREADS"), std::getenv("SLURM_CPUS_PER_TASK"), cpus());
  return count;
}

}  // namespace

int num_threads() { return thread_count(); }
void set_num_threads(int count) { thread_count() = count; }

void run_loop(std::int64_t count, LoopBody body) {
  const std::int64_t threads = std::min(num_threads(), most_useful_threads());
  const int helpers = static_cast<int>(std::min(threads, count)) - 1;
  static thread_local bool backwards = false;
  backwards = !backwards;
  if (helpers > 0)
    if (Pool* const helping = pool(); helping && helping->run(count, body, helpers, backwards)) return;
  for (std::int64_t i = 0; i < count; ++i) body.call(body.body, backwards ? count - 1 - i : i);
}

}  // namespace kg::kernels::cpu
