// SPDX-License-Identifier: MIT
#include "kernels/reduce.h"

#include <algorithm>
#include <vector>

#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

/// Dimensions of one kind, kept or reduced, with their strides in the contiguous input, outermost first.
struct Dimensions {
  std::vector<std::int64_t> extents, strides;
  std::int64_t count = 1;

  void add_inner(std::int64_t extent, std::int64_t stride) {
    extents.push_back(extent);
    strides.push_back(stride);
    count *= extent;
  }
  /// Where, in the input, the i-th combination of these dimensions lies, in row-major order.
  std::int64_t offset(std::int64_t i) const {
    std::int64_t result = 0;
    for (std::size_t d = extents.size(); d-- > 0; i /= extents[d]) result += i % extents[d] * strides[d];
    return result;
  }
};

/// A reduction as a loop over kept and over reduced dimensions, around a contiguous run of elements that are
/// all summed
/// (`reduces_run`) or all kept.
struct Walk {
  Dimensions kept, reduced;
  std::int64_t run = 1;
  bool reduces_run = true;

  explicit Walk(const ReduceProblem& p) {
    std::size_t outer = static_cast<std::size_t>(p.rank);
    const auto reduces = [&](std::size_t d) { return p.output_strides[d] == 0; };
    while (outer > 0 && p.shape[outer - 1] == 1) --outer;
    reduces_run = outer == 0 || reduces(outer - 1);
    while (outer > 0 && (p.shape[outer - 1] == 1 || reduces(outer - 1) == reduces_run))
      run *= p.shape[--outer];
    std::int64_t stride = run;
    for (std::size_t d = outer; d-- > 0;) stride *= p.shape[d];
    for (std::size_t d = 0; d < outer; ++d) {
      stride /= std::max<std::int64_t>(p.shape[d], 1);
      if (p.shape[d] != 1) (reduces(d) ? reduced : kept).add_inner(p.shape[d], stride);
    }
  }
};

/// Several sums at once: a single one would wait for each addition to finish before the next.
template <class T>
double sum_of_run(const T* values, std::int64_t count) {
  constexpr std::int64_t sums_at_once = 8;
  double sums[sums_at_once] = {};
  std::int64_t i = 0;
  for (; i + sums_at_once <= count; i += sums_at_once)
    for (std::int64_t s = 0; s < sums_at_once; ++s) sums[s] += static_cast<double>(values[i + s]);
  for (; i < count; ++i) sums[0] += static_cast<double>(values[i]);
  for (std::int64_t s = 1; s < sums_at_once; ++s) sums[0] += sums[s];
  return sums[0];
}

/// One output: the run is long, and cut into pieces whose sums are added in order.
template <class T>
double sum_of_everything(const T* input, std::int64_t count) {
  std::vector<double> pieces(static_cast<std::size_t>((count + elements_per_piece - 1) / elements_per_piece));
  parallel_for_ranges(count, elements_per_piece, [&](Range range) {
    pieces[static_cast<std::size_t>(range.begin / elements_per_piece)] =
        sum_of_run(input + range.begin, range.end - range.begin);
  });
  return sum_of_run(pieces.data(), static_cast<std::int64_t>(pieces.size()));
}

template <class T>
void sum(const ReduceProblem& p, double scale, const T* input, T* output) {
  const Walk walk(p);
  if (walk.reduces_run && p.output_count == 1 && walk.reduced.count == 1) {
    *output = static_cast<T>(scale * sum_of_everything(input, walk.run));
    return;
  }
  const std::int64_t outputs_per_kept = walk.reduces_run ? 1 : walk.run;
  const std::int64_t work_per_kept = std::max<std::int64_t>(walk.reduced.count * walk.run, 1);
  parallel_for_ranges(
      walk.kept.count, std::max<std::int64_t>(elements_per_piece / work_per_kept, 1), [&](Range range) {
        std::vector<double> sums(static_cast<std::size_t>(outputs_per_kept));
        for (std::int64_t i = range.begin; i < range.end; ++i) {
          std::fill(sums.begin(), sums.end(), 0.0);
          for (std::int64_t k = 0; k < walk.reduced.count; ++k) {
            const T* run = input + walk.kept.offset(i) + walk.reduced.offset(k);
            if (walk.reduces_run)
              sums[0] += sum_of_run(run, walk.run);
            else
              for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += static_cast<double>(run[j]);
          }
          for (std::size_t j = 0; j < sums.size(); ++j)
            output[i * outputs_per_kept + static_cast<std::int64_t>(j)] = static_cast<T>(scale * sums[j]);
        }
      });
}

template <class T>
constexpr ReduceKernels<T> reduce{sum<T>};

}  // namespace

template <>
Tables<ReduceKernels> tables() {
  return {&reduce<float>, &reduce<double>};
}

}  // namespace kg::kernels::cpu
