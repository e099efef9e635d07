#pragma once

#include <cstdint>

namespace kg::kernels::cpu {

int num_threads();

/// Calls body(i) for every i in [0, count), on all threads, in no particular order. For results that do not
/// depend on the number of threads, an i must write to places of its own; sums over i are formed afterwards,
/// in order.
template <class Body>
void parallel_for(std::int64_t count, const Body& body) {
  // Dynamic: the cores of a shared machine do not run equally fast.
#pragma omp parallel for schedule(dynamic) num_threads(num_threads()) if (count > 1)
  for (std::int64_t i = 0; i < count; ++i) body(i);
}

/// A range [begin, end).
struct Range {
  std::int64_t begin, end;
};

/// Cuts [0, count) into pieces and calls body(range) for each, on all threads. The cuts do not depend on the
/// number of threads.
template <class Body>
void parallel_for_ranges(std::int64_t count, std::int64_t piece, const Body& body) {
  parallel_for((count + piece - 1) / piece, [&](std::int64_t i) {
    body(Range{i * piece, (i + 1) * piece < count ? (i + 1) * piece : count});
  });
}

/// The piece for loops over single elements: long enough to hide the cost of a task, short enough to share
/// out.
inline constexpr std::int64_t elements_per_piece = 1 << 14;

}  // namespace kg::kernels::cpu
