#include "kernels/parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace kg::kernels::cpu {

namespace {

/// How long a thread looks for the next loop before it sleeps: a little longer than the pauses between the
/// loops of a training step, for waking a thread takes as long as a short loop.
constexpr std::chrono::microseconds patience{50};

/// Calls ready() until it returns true or patience runs out.
template <class Ready>
bool soon(const Ready& ready) {
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

thread_local bool inside_loop = false;

/// One loop being run.
class Loop {
 public:
  Loop(std::int64_t count, LoopBody body, int helpers)
      : count_(count), body_(body), helpers_wanted_(helpers) {}

  /// Runs what is left of the loop, on whichever thread calls.
  void work() {
    inside_loop = true;
    try {
      for (std::int64_t i = next_++; i < count_; i = next_++) body_.call(body_.body, i);
    } catch (...) {
      next_ = count_;
      const std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    inside_loop = false;
  }

  bool wants_helper() { return helpers_wanted_ > 0; }
  void helper_joins() { --helpers_wanted_; }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  const std::int64_t count_;
  const LoopBody body_;
  int helpers_wanted_;  // under the pool's mutex
  std::atomic<std::int64_t> next_ = 0;
  std::mutex error_mutex_;
  std::exception_ptr error_;
};

/// Threads that help with one loop at a time.
class Pool {
 public:
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      quit_ = true;
      ++announcements_;
    }
    announced_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  /// Runs the loop with up to `helpers` threads besides the calling one. False if the pool is busy with
  /// another.
  bool run(std::int64_t count, LoopBody body, int helpers) {
    const std::unique_lock exclusive(owner_, std::try_to_lock);
    if (!exclusive) return false;
    Loop loop(count, body, helpers);
    {
      const std::lock_guard lock(mutex_);
      while (static_cast<int>(threads_.size()) < helpers) threads_.emplace_back([this] { help(); });
      loop_ = &loop;
      ++announcements_;
    }
    announced_.notify_all();
    loop.work();
    soon([this] { return helping_.load() == 0; });
    {
      // From here on nobody can join; who has not joined by now is not waited for.
      std::unique_lock lock(mutex_);
      loop_ = nullptr;
      finished_.wait(lock, [this] { return helping_ == 0; });
    }
    loop.rethrow();
    return true;
  }

 private:
  void help() {
    for (std::uint64_t seen = 0;;) {
      soon([&] { return announcements_.load() != seen; });
      std::unique_lock lock(mutex_);
      announced_.wait(lock, [&] { return announcements_ != seen; });
      seen = announcements_;
      if (quit_) return;
      if (!loop_ || !loop_->wants_helper()) continue;
      Loop& loop = *loop_;
      loop.helper_joins();
      ++helping_;
      lock.unlock();
      loop.work();
      lock.lock();
      if (--helping_ == 0) finished_.notify_one();
    }
  }

  std::mutex owner_;  // of the pool, for the length of a loop
  std::mutex mutex_;  // of what follows; the atomics are also looked at without it
  std::condition_variable announced_, finished_;
  std::vector<std::thread> threads_;
  Loop* loop_ = nullptr;
  bool quit_ = false;
  std::atomic<std::uint64_t> announcements_ = 0;
  std::atomic<int> helping_ = 0;
};

/// OMP_NUM_THREADS, which numerical programs have in common, otherwise every core.
int default_threads() {
  if (const char* text = std::getenv("OMP_NUM_THREADS"))
    if (const int count = std::atoi(text); count > 0) return count;
  const unsigned cores = std::thread::hardware_concurrency();
  return cores > 0 ? static_cast<int>(cores) : 1;
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count = default_threads();
  return count;
}

}  // namespace

int num_threads() { return thread_count(); }
void set_num_threads(int count) { thread_count() = count; }

void run_loop(std::int64_t count, LoopBody body) {
  static Pool pool;
  const int helpers = static_cast<int>(std::min<std::int64_t>(num_threads(), count)) - 1;
  if (helpers > 0 && !inside_loop && pool.run(count, body, helpers)) return;
  for (std::int64_t i = 0; i < count; ++i) body.call(body.body, i);
}

}  // namespace kg::kernels::cpu
