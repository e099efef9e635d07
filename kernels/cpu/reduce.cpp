#include "kernels/reduce.h"

#include <vector>

#include "kernels/parallel.h"

namespace kg::kernels::cpu {

namespace {

/// The dimensions of one kind (kept or reduced) with their strides in the contiguous input.
struct Dimensions {
  std::vector<std::int64_t> shape, strides;
  std::int64_t count = 1;

  void add_outer(std::int64_t extent, std::int64_t stride) {
    shape.push_back(extent);
    strides.push_back(stride);
    count *= extent;
  }
  /// Where, in the input, the i-th combination of these dimensions lies, in row-major order.
  std::int64_t offset(std::int64_t i) const {
    std::int64_t result = 0;
    for (std::size_t d = 0; d < shape.size(); i /= shape[d], ++d) result += i % shape[d] * strides[d];
    return result;
  }
};

template <class T>
void sum(const ReduceProblem& p, double scale, const T* input, T* output, Stream) {
  Dimensions kept, reduced;
  std::int64_t stride = 1;
  for (std::size_t d = static_cast<std::size_t>(p.rank); d-- > 0; stride *= p.shape[d])
    (p.output_strides[d] != 0 ? kept : reduced).add_outer(p.shape[d], stride);
  parallel_for_ranges(p.output_count, reduced.count > 64 ? 1 : elements_per_piece / 64, [&](Range range) {
    for (std::int64_t i = range.begin; i < range.end; ++i) {
      const T* from = input + kept.offset(i);
      double total = 0;
      for (std::int64_t k = 0; k < reduced.count; ++k) total += static_cast<double>(from[reduced.offset(k)]);
      output[i] = static_cast<T>(scale * total);
    }
  });
}

}  // namespace

template <class T>
const ReduceKernels<T>& reduce() {
  static constexpr ReduceKernels<T> kernels{sum<T>};
  return kernels;
}
template const ReduceKernels<float>& reduce();
template const ReduceKernels<double>& reduce();

}  // namespace kg::kernels::cpu
