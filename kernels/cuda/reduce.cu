// SPDX-License-Identifier: MIT
#include "kernels/reduce.h"

#include <algorithm>
#include <bit>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"
#include "kernelgrad/cuda/vec.h"
#include "kernelgrad/device_array.h"

/// output = scale * the sum over any subset of a tensor's dimensions, added up in double precision.
///
/// Neighbouring dimensions that are both kept or both summed over are merged. What is innermost then decides
/// how the input is read:
///
/// - Summed over ("rows": full sums, row sums, the sum over images and pixels of a channel). A group of 4, 32
///   or 256 threads owns an output, the more the longer the sum, and reads its terms in packs of 16 bytes,
///   neighbouring lanes neighbouring packs. Their sums are combined by shuffles, and those of a block's warps
///   in shared memory.
/// - Kept ("columns": column sums). A block owns a tile of neighbouring outputs, a thread a column of the
///   tile and a slice of its terms, say every 8th, so that a warp reads neighbouring elements. The
///   slices are added up in shared memory, pairwise.
///
/// Where that makes too few blocks and the sums are long, each is split over several blocks. They leave
/// partial sums in double precision in scratch memory, splits of one output side by side, and a second launch
/// sums those rows.
///
/// Which thread adds which terms, and the order of everything after, depend on the problem alone: the same
/// input gives the same bits. Every element of the input is read once, for one addition: sizeof(T) bytes.
/// Additions and conversions in double precision keep up with memory on GPUs with many units for it (sm_80,
/// sm_90), perhaps not on others.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 256;

/// Up to how many blocks sums are split over: they are all resident at once on the 108 multiprocessors of an
/// A100 and the 132 of an H100, and as they are equally long, they end together.
constexpr std::int64_t max_blocks = 512;

/// Where, in the input, the i-th combination of the dimensions lies, in row-major order. One dimension takes
/// no division.
__device__ std::int64_t offset(const Dimensions& dimensions, std::int64_t i) {
  std::int64_t result = 0;
  // Unrolled, divisions that are rarely made would be most of a kernel's code and registers.
#pragma unroll 1
  for (int d = dimensions.rank - 1; d > 0; --d) {
    const std::int64_t outer = i / dimensions.extents[d];
    result += (i - outer * dimensions.extents[d]) * dimensions.strides[d];
    i = outer;
  }
  return result + i * dimensions.strides[0];
}

/// How reduce_rows_kernel shares out its work. A group is the threads that add up one split of one output;
/// splits of an output are neighbours.
struct RowPlan {
  Dimensions kept, summed;
  std::int64_t run, packs_per_run, packs;  ///< packs: of all runs of an output
  std::int64_t splits, groups;
};

template <int lanes, bool one_run, class In, class Out>
__global__ void __launch_bounds__(block_size)
    reduce_rows_kernel(RowPlan p, double scale, const In* input, Out* output) {
  const std::int64_t group = global_thread<block_size>() / lanes;
  const int lane = static_cast<int>(threadIdx.x) % lanes;
  // Threads without a group have no terms, but take part in the shuffles.
  const bool exists = group < p.groups;
  const std::int64_t end = exists ? p.packs : 0;
  const std::int64_t output_index = group / p.splits, split = group - output_index * p.splits;
  const std::int64_t row = offset(p.kept, output_index);

  double sum = 0;
  for (std::int64_t i = split * lanes + lane; i < end; i += p.splits * lanes) {
    const std::int64_t run = one_run ? 0 : i / p.packs_per_run;
    const In* first = input + row + (one_run ? 0 : offset(p.summed, run));
    const Pack<In> pack = load_pack(first, (i - run * p.packs_per_run) * pack_size<In>, p.run);
    for (const In value : pack.values) sum += static_cast<double>(value);
  }
  if constexpr (lanes == block_size) {
    SharedMemory shared;
    sum = block_reduce(sum, Sum(), shared.array<double>(reduce_scratch));
  } else {
    sum = warp_reduce<lanes>(sum, Sum());
  }
  if (exists && lane == 0) output[group] = static_cast<Out>(scale * sum);
}

/// How reduce_columns_kernel shares out its work: a block takes `tile` columns and one split of their terms,
/// dealt out among `slices` threads a column. Both are powers of two, and their product is block_size.
struct ColumnPlan {
  Dimensions kept, summed;
  std::int64_t splits;
  int tile, slices;
};

template <bool one_dimension, class In, class Out>
__global__ void __launch_bounds__(block_size)
    reduce_columns_kernel(ColumnPlan p, double scale, const In* input, Out* output) {
  SharedMemory shared;
  double* sums = shared.array<double>(block_size);
  const int thread = static_cast<int>(threadIdx.x), slice = thread / p.tile;
  const std::int64_t tile = blockIdx.x / p.splits, split = blockIdx.x - tile * p.splits;
  const std::int64_t column = tile * p.tile + thread % p.tile;

  double sum = 0;
  if (column < p.kept.count) {
    const std::int64_t first = offset(p.kept, column);
    // Several loads under way at once.
#pragma unroll(one_dimension ? 4 : 1)
    for (std::int64_t i = split * p.slices + slice; i < p.summed.count; i += p.splits * p.slices)
      sum +=
          static_cast<double>(input[first + (one_dimension ? i * p.summed.strides[0] : offset(p.summed, i))]);
  }
  sums[thread] = sum;
  for (int half = p.slices / 2; half > 0; half /= 2) {
    // The sums that are added now were written by other threads, before the loop or in the round before.
    __syncthreads();
    if (slice < half) sums[thread] += sums[thread + half * p.tile];
  }
  if (slice == 0 && column < p.kept.count)
    output[column * p.splits + split] = static_cast<Out>(scale * sums[thread]);
}

/// Over how many blocks to split each sum where there are `blocks` of them, at most `most`.
std::int64_t splits_of(std::int64_t blocks, std::int64_t most) {
  return std::max<std::int64_t>(std::min(max_blocks / std::max<std::int64_t>(blocks, 1), most), 1);
}

template <int lanes, class In, class Out>
void launch_rows(const RowPlan& plan, double scale, const In* input, Out* output) {
  const Grid grid{
      .blocks = block_count(ceil_div(plan.groups * lanes, block_size)),
      .threads = block_size,
      .shared_bytes = lanes == block_size ? SharedLayout().array<double>(reduce_scratch).bytes() : 0};
  // Only for long sums is it worth a kernel of its own to have no division in the loop.
  if (lanes == block_size && plan.summed.rank == 0)
    launch<reduce_rows_kernel<block_size, true, In, Out>>(grid, plan, scale, input, output);
  else
    launch<reduce_rows_kernel<lanes, false, In, Out>>(grid, plan, scale, input, output);
}

template <class T>
void sum_partial(std::int64_t count, std::int64_t splits, double scale, const double* partial, T* output);

template <class In, class Out>
void sum_rows(const Reduction& r, double scale, const In* input, Out* output) {
  const std::int64_t packs_per_run = ceil_div(r.run, pack_size<In>);
  RowPlan plan{.kept = r.kept,
               .summed = r.summed,
               .run = r.run,
               .packs_per_run = packs_per_run,
               .packs = r.summed.count * packs_per_run,
               .splits = 1,
               .groups = r.kept.count};
  // A thread has up to 4 packs, then up to 8, and where a sum is split at least 4.
  if (plan.packs <= 4 * 4) return launch_rows<4>(plan, scale, input, output);
  if (plan.packs <= 8 * warp_size) return launch_rows<warp_size>(plan, scale, input, output);
  plan.splits = splits_of(r.kept.count, plan.packs / (4 * block_size));
  if (plan.splits == 1) return launch_rows<block_size>(plan, scale, input, output);

  plan.groups = r.kept.count * plan.splits;
  DeviceArray<double> partial(plan.groups);
  launch_rows<block_size>(plan, 1, input, partial.data());
  sum_partial(r.kept.count, plan.splits, scale, partial.data(), output);
}

/// output[i] = scale * (partial[i, 0] + ... + partial[i, splits - 1]).
template <class T>
void sum_partial(std::int64_t count, std::int64_t splits, double scale, const double* partial, T* output) {
  Reduction rows;
  rows.kept.add_inner(count, splits);
  rows.run = splits;
  sum_rows(rows, scale, partial, output);
}

template <class In, class Out>
void launch_columns(const ColumnPlan& plan, double scale, const In* input, Out* output) {
  const Grid grid{.blocks = block_count(ceil_div(plan.kept.count, plan.tile) * plan.splits),
                  .threads = block_size,
                  .shared_bytes = SharedLayout().array<double>(block_size).bytes()};
  if (plan.summed.rank == 1)
    launch<reduce_columns_kernel<true, In, Out>>(grid, plan, scale, input, output);
  else
    launch<reduce_columns_kernel<false, In, Out>>(grid, plan, scale, input, output);
}

template <class T>
void sum_columns(const Reduction& r, double scale, const T* input, T* output) {
  Dimensions kept = r.kept;
  kept.add_inner(r.run, 1);
  // Slices of at least 4 terms, as long as a tile stays as wide as a warp or has all columns.
  const auto terms = static_cast<std::uint64_t>(r.summed.count),
             columns = static_cast<std::uint64_t>(kept.count);
  const std::uint64_t narrowest = std::bit_ceil(std::min<std::uint64_t>(columns, warp_size));
  const std::uint64_t slices =
      std::clamp<std::uint64_t>(std::bit_floor(terms / 4), 1, block_size / narrowest);
  ColumnPlan plan{.kept = kept,
                  .summed = r.summed,
                  .splits = 1,
                  .tile = block_size / static_cast<int>(slices),
                  .slices = static_cast<int>(slices)};
  // A thread of several splits has at least 8 terms.
  plan.splits = splits_of(ceil_div(kept.count, plan.tile), r.summed.count / (8 * plan.slices));
  if (plan.splits == 1) return launch_columns(plan, scale, input, output);

  DeviceArray<double> partial(kept.count * plan.splits);
  launch_columns(plan, 1, input, partial.data());
  sum_partial(kept.count, plan.splits, scale, partial.data(), output);
}

template <class T>
void sum(const ReduceProblem& p, double scale, const T* input, T* output) {
  const Reduction reduction(p);
  if (reduction.sums_runs)
    sum_rows(reduction, scale, input, output);
  else
    sum_columns(reduction, scale, input, output);
}

template <class T>
constexpr ReduceKernels<T> reduce{sum<T>};

}  // namespace

template <>
Tables<ReduceKernels> tables() {
  return {&reduce<float>, &reduce<double>};
}

}  // namespace kg::kernels::cuda
