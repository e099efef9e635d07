#include "kernels/elementwise.h"

#include "kernels/cuda/common/elements.h"
#include "kernels/cuda/common/launch.h"
#include "kernels/cuda/common/vec.h"

/// output = value, factor * input, accumulator + input, and a + b and a * b of operands that are broadcast.
///
/// A thread owns one 16-byte pack of consecutive output elements, so that every access of a warp to an array
/// as long as the output is 512 contiguous bytes. Memory traffic is all there is: sizeof(T) bytes an element
/// for fill, 2 for scale, 3 for the others (for add and mul 2, where an operand is broadcast: what is
/// repeated comes from the cache), for at most one operation.
///
/// add and mul see their output as rows: the innermost dimensions that both operands walk through in one
/// stride, merged. Two tensors of one shape, or one and a scalar, are a single row; [n, c, h, w] with [c, 1,
/// 1] has a row for each image and channel. A row is cut into packs, the last of which may be short, and
/// along it an operand either advances with the output (a 16-byte load, where rows keep to 16 bytes) or stays
/// (one load for the pack). The row's number is taken apart into the outer coordinates, a division for each
/// dimension and pack. Rows shorter than a pack leave threads partly idle, to no other harm.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 256;

template <class T>
__global__ void __launch_bounds__(block_size)
    elementwise_fill_kernel(std::int64_t count, T value, T* output) {
  Pack<T> pack;
  for (T& element : pack.values) element = value;
  store_pack(output, global_thread<block_size>() * pack_size<T>, count, pack);
}

// Reads a pack before it writes the same one: the arrays may be one.
template <class T>
__global__ void __launch_bounds__(block_size)
    elementwise_scale_kernel(std::int64_t count, T factor, const T* input, T* output) {
  const std::int64_t first = global_thread<block_size>() * pack_size<T>;
  Pack<T> pack = load_pack(input, first, count);
  for (T& element : pack.values) element = factor * element;
  store_pack(output, first, count, pack);
}

template <class T>
__global__ void __launch_bounds__(block_size)
    elementwise_accumulate_kernel(std::int64_t count, const T* input, T* accumulator) {
  const std::int64_t first = global_thread<block_size>() * pack_size<T>;
  const Pack<T> addend = load_pack(input, first, count);
  Pack<T> sum = load_pack(accumulator, first, count);
  for (int i = 0; i < pack_size<T>; ++i) sum.values[i] += addend.values[i];
  store_pack(accumulator, first, count, sum);
}

/// A broadcast problem as rows, with as few dimensions as it can be described with.
struct BroadcastRows {
  struct Dimension {
    std::int64_t extent, a_stride, b_stride;
  };
  Dimension row{1, 0, 0};
  int outer_rank = 0;
  Dimension outer[max_rank] = {};  ///< outermost first
  std::int64_t rows = 1;

  explicit BroadcastRows(const BroadcastProblem& p) {
    for (std::size_t d = 0; d < static_cast<std::size_t>(p.rank); ++d) {
      const Dimension next{p.shape[d], p.a_strides[d], p.b_strides[d]};
      if (next.extent == 1) continue;
      const bool merges =
          row.a_stride == next.extent * next.a_stride && row.b_stride == next.extent * next.b_stride;
      if (row.extent != 1 && !merges) {
        outer[outer_rank++] = row;
        rows *= row.extent;
        row.extent = 1;
      }
      row = {row.extent * next.extent, next.a_stride, next.b_stride};
    }
  }
};

/// Elements first, first + 1, ... of an operand's row of `count`. Contiguous operands have no strides but 0
/// and 1 in the innermost dimension.
template <class T>
__device__ Pack<T> load_row_pack(const T* row, std::int64_t stride, std::int64_t first, std::int64_t count) {
  if (stride != 0) return load_pack(row, first, count);
  Pack<T> pack;
  for (T& element : pack.values) element = row[0];
  return pack;
}

struct Add {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};

struct Mul {
  template <class T>
  __device__ T operator()(T a, T b) const {
    return a * b;
  }
};

template <class T, class Combine>
__global__ void __launch_bounds__(block_size)
    elementwise_combine_kernel(BroadcastRows p, std::int64_t packs_per_row, const T* a, const T* b,
                               T* output) {
  const std::int64_t row = global_thread<block_size>() / packs_per_row;
  if (row >= p.rows) return;
  const std::int64_t first = (global_thread<block_size>() - row * packs_per_row) * pack_size<T>;
  std::int64_t rest = row;
  // Unrolled, the divisions of rarely more than two rounds would be most of the kernel's code and registers.
#pragma unroll 1
  for (int d = p.outer_rank; d-- > 0;) {
    const std::int64_t outer = rest / p.outer[d].extent, coordinate = rest - outer * p.outer[d].extent;
    a += coordinate * p.outer[d].a_stride;
    b += coordinate * p.outer[d].b_stride;
    rest = outer;
  }
  Pack<T> pack = load_row_pack(a, p.row.a_stride, first, p.row.extent);
  const Pack<T> other = load_row_pack(b, p.row.b_stride, first, p.row.extent);
  for (int i = 0; i < pack_size<T>; ++i) pack.values[i] = Combine()(pack.values[i], other.values[i]);
  store_pack(output + row * p.row.extent, first, p.row.extent, pack);
}

template <class T>
void fill(std::int64_t count, double value, T* output) {
  launch<elementwise_fill_kernel<T>>(grid_for<block_size>(ceil_div(count, pack_size<T>)), count,
                                     static_cast<T>(value), output);
}

template <class T>
void scale(std::int64_t count, double factor, const T* input, T* output) {
  launch<elementwise_scale_kernel<T>>(grid_for<block_size>(ceil_div(count, pack_size<T>)), count,
                                      static_cast<T>(factor), input, output);
}

template <class T>
void accumulate(std::int64_t count, const T* input, T* accumulator) {
  launch<elementwise_accumulate_kernel<T>>(grid_for<block_size>(ceil_div(count, pack_size<T>)), count, input,
                                           accumulator);
}

template <class T, class Combine>
void combine(const BroadcastProblem& p, const T* a, const T* b, T* output) {
  const BroadcastRows rows(p);
  const std::int64_t packs_per_row = ceil_div(rows.row.extent, pack_size<T>);
  launch<elementwise_combine_kernel<T, Combine>>(grid_for<block_size>(rows.rows * packs_per_row), rows,
                                                 packs_per_row, a, b, output);
}

template <class T>
constexpr ElementwiseKernels<T> elementwise{fill<T>, combine<T, Add>, combine<T, Mul>, scale<T>,
                                            accumulate<T>};

}  // namespace

template <>
const ElementwiseKernels<float>* table() {
  return &elementwise<float>;
}
template <>
const ElementwiseKernels<double>* table() {
  return &elementwise<double>;
}

}  // namespace kg::kernels::cuda
