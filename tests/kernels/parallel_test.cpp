// SPDX-License-Identifier: MIT
#include "kernels/parallel.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <set>
#include <thread>

#include "kernels/cpu/cpu_count.h"
#include "support.h"
#include "temporary_directory.h"
#include "thread_count.h"

namespace kg {
namespace {

using namespace testing;
using kernels::cpu::default_threads, kernels::cpu::max_threads, kernels::cpu::parallel_for,
    kernels::cpu::usable_cpus;

/// Waits until ready() is true, for some seconds at most.
template <class Ready>
bool wait_for(const Ready& ready) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (!ready() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  return ready();
}

/// Whether a loop gets several threads: each of two calls waits for the other.
bool runs_in_parallel() {
  std::atomic<int> arrived = 0;
  std::atomic<bool> met = true;
  parallel_for(2, [&](std::int64_t) {
    ++arrived;
    if (!wait_for([&] { return arrived == 2; })) met = false;
  });
  return met;
}

std::int64_t sum_to(std::int64_t count) {
  std::vector<std::int64_t> squares(static_cast<std::size_t>(count));
  parallel_for(count, [&](std::int64_t i) { squares[static_cast<std::size_t>(i)] = i; });
  return std::accumulate(squares.begin(), squares.end(), std::int64_t{0});
}

/// What a child process returns that does `work`; -1 if it does not end by itself.
template <class Work>
int in_child(const Work& work) {
  std::fflush(nullptr);
  const ::pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    std::exit(work() ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_CASE("An exception in a loop ends it and arrives at its caller", "[parallel]") {
  const ThreadCount threads(3);
  constexpr std::int64_t count = 100'000'000;
  std::atomic<bool> thrown = false;
  std::atomic<std::int64_t> calls = 0;
  const auto body = [&](std::int64_t) {
    if (++calls == 2) {
      thrown = true;
      throw Error("from the second call");
    }
    // Nobody is ahead of the exception.
    wait_for([&] { return thrown.load(); });
  };
  check_error([&] { parallel_for(count, body); }, {"from the second call"});
  CHECK(calls < count / 10);
  CHECK(runs_in_parallel());
}

TEST_CASE("Of exceptions from several threads one arrives", "[parallel]") {
  const ThreadCount threads(3);
  for (int round = 0; round < 100; ++round)
    check_error([] { parallel_for(64, [](std::int64_t) { throw Error("one of many"); }); }, {"one of many"});
  CHECK(sum_to(1000) == 499'500);
}

TEST_CASE("Of exceptions from two threads the first arrives", "[parallel]") {
  const ThreadCount threads(2);
  std::atomic<int> begun = 0;
  std::atomic<bool> thrown = false;
  const auto body = [&](std::int64_t i) {
    ++begun;
    wait_for([&] { return begun == 2; });
    if (i == 0) {
      thrown = true;
      throw Error("the first");
    }
    wait_for([&] { return thrown.load(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(500));  // until it is caught
    throw Error("the second");
  };
  check_error([&] { parallel_for(2, body); }, {"the first"});
}

TEST_CASE("A loop inside another runs on the thread that calls it", "[parallel]") {
  const ThreadCount threads(3);
  std::atomic<int> strangers = 0, inner_calls = 0;
  parallel_for(64, [&](std::int64_t) {
    const std::thread::id own = std::this_thread::get_id();
    parallel_for(16, [&](std::int64_t) {
      ++inner_calls;
      if (std::this_thread::get_id() != own) ++strangers;
    });
  });
  CHECK(strangers == 0);
  CHECK(inner_calls == 64 * 16);
}

TEST_CASE("The child of a fork makes threads of its own, and ends", "[parallel]") {
  if (sanitized) return;  // ThreadSanitizer ends a child that makes threads
  const ThreadCount threads(3);
  REQUIRE(runs_in_parallel());
  CHECK(in_child([] { return true; }) == 0);
  CHECK(in_child([] { return runs_in_parallel() && sum_to(1000) == 499'500; }) == 0);
  CHECK(in_child([] { return in_child([] { return runs_in_parallel(); }) == 0 && runs_in_parallel(); }) == 0);
  CHECK(in_child([] {
          set_num_threads(1);
          return sum_to(1000) == 499'500 && relu(Tensor::ones({100'000})).numel() == 100'000;
        }) == 0);
  CHECK(runs_in_parallel());
}

TEST_CASE("Where the system has no threads the caller goes on alone", "[parallel]") {
  if (sanitized) return;  // they reserve more memory than any limit
  const ThreadCount threads(3);
  CHECK(in_child([] {
          // Not enough for a thread's stack.
          std::int64_t pages = 0;
          std::ifstream("/proc/self/statm") >> pages;
          const rlim_t now = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE));
          const rlimit limit{now + (1 << 20), now + (1 << 20)};
          if (::setrlimit(RLIMIT_AS, &limit) != 0) return false;
          std::set<std::thread::id> seen;
          parallel_for(100, [&](std::int64_t) { seen.insert(std::this_thread::get_id()); });
          return seen == std::set{std::this_thread::get_id()};
        }) == 0);
}

TEST_CASE("More threads than CPUs cost little", "[parallel]") {
  if (sanitized) return;
  // Loops of a few dozen microseconds with pauses between them, as training has.
  const auto cpu_time = [](int threads) {
    const ThreadCount count(threads);
    const Tensor x = Tensor::ones({1 << 18});
    double least = HUGE_VAL;
    for (int round = 0; round < 5; ++round) {
      rusage before{}, after{};
      ::getrusage(RUSAGE_SELF, &before);
      for (int i = 0; i < 100; ++i) relu(x);
      ::getrusage(RUSAGE_SELF, &after);
      const auto seconds = [](const rusage& usage) {
        return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
      };
      least = std::min(least, seconds(after) - seconds(before));
    }
    return least;
  };
  const int cpus = usable_cpus();
  const double fitting = cpu_time(cpus), many = cpu_time(8 * cpus);
  INFO(many << " s with " << 8 * cpus << " threads, " << fitting << " s with " << cpus);
  CHECK(many < 3 * fitting + 0.05);
}

TEST_CASE("OMP_NUM_THREADS and SLURM_CPUS_PER_TASK say how many threads there are", "[parallel]") {
  constexpr int cpus = 8;
  const auto omp = [](const char* text) { return default_threads(text, nullptr, cpus); };
  CHECK(omp(nullptr) == cpus);
  CHECK(omp("3") == 3);
  CHECK(omp(" 3 ") == 3);
  CHECK(omp("4,2") == 4);
  CHECK(omp("4 , 2") == 4);
  CHECK(omp("1") == 1);
  CHECK(omp("64") == 64);
  CHECK(omp("1024") == 1024);
  for (const char* invalid :
       {"", " ", "0", "-3", "abc", "3x", "3 4", ",3", "0,3", "1025", "99999999999999999999"})
    CHECK(omp(invalid) == cpus);
  CHECK(default_threads(nullptr, "2", cpus) == 2);
  CHECK(default_threads(nullptr, "16", cpus) == cpus);
  CHECK(default_threads(nullptr, "none", cpus) == cpus);
  CHECK(default_threads("5", "2", cpus) == 5);
  CHECK(default_threads("0", "2", cpus) == 2);
  CHECK(default_threads(nullptr, nullptr, 4096) == max_threads);
}

// ctest sets OMP_NUM_THREADS to 3,2.
TEST_CASE("OMP_NUM_THREADS is read", "[.omp_num_threads]") { CHECK(num_threads() == 3); }

// ctest sets SLURM_CPUS_PER_TASK to 1.
TEST_CASE("SLURM_CPUS_PER_TASK is read", "[.slurm_cpus_per_task]") { CHECK(num_threads() == 1); }

TEST_CASE("A control group's quota bounds the CPUs", "[parallel]") {
  const int all = usable_cpus("/nowhere");
  REQUIRE(all >= 1);
  using Files = std::vector<std::pair<std::string, std::string>>;
  const auto cpus_with = [](const Files& files) {
    const TemporaryDirectory root;
    for (const auto& [name, text] : files) {
      std::filesystem::create_directories((root.path() / name).parent_path());
      std::ofstream(root.path() / name) << text;
    }
    return usable_cpus(root.path());
  };
  const std::string none = "max 100000\n", one = "100000 100000\n", half = "50000 100000\n";
  const std::string v2 = "0::/a/b\n", v1 = "3:cpuset:/\n4:cpu,cpuacct:/a/b\n0::/\n";
  CHECK(cpus_with({}) == all);
  CHECK(cpus_with({{"proc/self/cgroup", v2}}) == all);
  CHECK(cpus_with({{"proc/self/cgroup", v2}, {"sys/fs/cgroup/a/b/cpu.max", none}}) == all);
  CHECK(cpus_with({{"proc/self/cgroup", v2}, {"sys/fs/cgroup/a/b/cpu.max", one}}) == 1);
  CHECK(cpus_with({{"proc/self/cgroup", v2}, {"sys/fs/cgroup/a/b/cpu.max", half}}) == 1);
  CHECK(cpus_with({{"proc/self/cgroup", v2}, {"sys/fs/cgroup/a/b/cpu.max", "150000 100000\n"}}) ==
        std::min(all, 2));
  CHECK(cpus_with({{"proc/self/cgroup", v2}, {"sys/fs/cgroup/a/b/cpu.max", "9900000 100000\n"}}) ==
        std::min(all, 99));
  // Of a group around, and where only the mounted root is there.
  CHECK(cpus_with({{"proc/self/cgroup", v2},
                   {"sys/fs/cgroup/a/b/cpu.max", none},
                   {"sys/fs/cgroup/a/cpu.max", one}}) == 1);
  CHECK(cpus_with({{"proc/self/cgroup", v2}, {"sys/fs/cgroup/cpu.max", one}}) == 1);
  CHECK(cpus_with({{"proc/self/cgroup", "0::/\n"}, {"sys/fs/cgroup/cpu.max", one}}) == 1);
  CHECK(cpus_with({{"proc/self/cgroup", "0::/../x\n"}, {"sys/fs/cgroup/cpu.max", one}}) == 1);
  // Version 1, under either name of the controller's folder, with -1 for none.
  for (const std::string folder :
       {"sys/fs/cgroup/cpu,cpuacct/a/b/", "sys/fs/cgroup/cpu/", "sys/fs/cgroup/cpu/a/"}) {
    CHECK(cpus_with({{"proc/self/cgroup", v1},
                     {folder + "cpu.cfs_quota_us", "100000\n"},
                     {folder + "cpu.cfs_period_us", "100000\n"}}) == 1);
    CHECK(cpus_with({{"proc/self/cgroup", v1},
                     {folder + "cpu.cfs_quota_us", "-1\n"},
                     {folder + "cpu.cfs_period_us", "100000\n"}}) == all);
  }
}

}  // namespace
}  // namespace kg
