// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

/// Loops shared out among the CPU's threads.
///
/// Not OpenMP: GCC's run-time lets threads that have nothing to do spin for about a millisecond, and every
/// loop end waits for every thread. On two cores that other programs were using too, an epoch of training
/// took 75 s instead of 5 s. Here a loop waits for those threads only that have taken part of it, and idle
/// threads soon sleep.
///
/// A loop goes on with those threads that the system lets it have, if need be with the calling one alone. The
/// child of a fork() begins without threads and makes its own.
namespace kg::kernels::cpu {

/// What num_threads() may be: from 1 to this.
inline constexpr int max_threads = 1024;

/// How many threads the kernels use; at first what cpu_count.h says. Of threads beyond the CPUs few take part
/// in a loop: they could not run at the same time.
int num_threads();
void set_num_threads(int count);

/// A function called with an index, without the allocation of a std::function.
struct LoopBody {
  void (*call)(const void* body, std::int64_t i);
  const void* body;
};

void run_loop(std::int64_t count, LoopBody body);

/// Calls body(i) for every i in [0, count), on up to num_threads() threads, in no particular order, and
/// returns when all calls have. For results that do not depend on the number of threads, each i must write to
/// places of its own; sums over i are formed afterwards, in order. Inside another loop, or while another
/// thread runs one, it runs on the calling thread alone. The first exception that a call throws is thrown
/// again here; which of the other calls happen is then unspecified.
template <class Body>
void parallel_for(std::int64_t count, const Body& body) {
  run_loop(count,
           {[](const void* erased, std::int64_t i) { (*static_cast<const Body*>(erased))(i); }, &body});
}

/// A range [begin, end).
struct Range {
  std::int64_t begin, end;
};

/// a / b rounded up, where b > 0.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return a / b + (a % b > 0); }

/// Cuts [0, count) into pieces and calls body(range) for each, as parallel_for() does. The cuts do not depend
/// on the number of threads.
template <class Body>
void parallel_for_ranges(std::int64_t count, std::int64_t piece, const Body& body) {
  parallel_for(ceil_div(count, piece), [&](std::int64_t i) {
    body(Range{i * piece, count - i * piece > piece ? (i + 1) * piece : count});
  });
}

/// The piece for loops over single elements: long enough to hide the cost of a task, short enough to share
/// out.
inline constexpr std::int64_t elements_per_piece = 1 << 14;

}  // namespace kg::kernels::cpu
