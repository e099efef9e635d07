// SPDX-License-Identifier: MIT
#include "kernels/reduce.h"

#include <algorithm>

#include "kernels/cpu/memory.h"
#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

/// Where, in the input, the i-th combination of the dimensions lies, in row-major order.
std::int64_t offset(const Dimensions& dimensions, std::int64_t i) {
  std::int64_t result = 0;
  for (int d = dimensions.rank; d-- > 0; i /= dimensions.extents[d])
    result += i % dimensions.extents[d] * dimensions.strides[d];
  return result;
}

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
  Array<double> pieces(static_cast<std::size_t>(ceil_div(count, elements_per_piece)));
  parallel_for_ranges(count, elements_per_piece, [&](Range range) {
    pieces[static_cast<std::size_t>(range.begin / elements_per_piece)] =
        sum_of_run(input + range.begin, range.end - range.begin);
  });
  return sum_of_run(pieces.data(), static_cast<std::int64_t>(pieces.size()));
}

template <class T>
void sum(const ReduceProblem& p, double scale, const T* input, T* output) {
  const Reduction r(p);
  if (r.sums_runs && r.kept.count == 1 && r.summed.count == 1) {
    *output = static_cast<T>(scale * sum_of_everything(input, r.run));
    return;
  }
  const std::int64_t outputs_per_kept = r.sums_runs ? 1 : r.run;
  const std::int64_t work_per_kept = std::max<std::int64_t>(r.summed.count * r.run, 1);
  parallel_for_ranges(
      r.kept.count, std::max<std::int64_t>(elements_per_piece / work_per_kept, 1), [&](Range range) {
        Array<double> sums(static_cast<std::size_t>(outputs_per_kept));
        for (std::int64_t i = range.begin; i < range.end; ++i) {
          std::fill(sums.begin(), sums.end(), 0.0);
          for (std::int64_t k = 0; k < r.summed.count; ++k) {
            const T* run = input + offset(r.kept, i) + offset(r.summed, k);
            if (r.sums_runs)
              sums[0] += sum_of_run(run, r.run);
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
