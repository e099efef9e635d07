// SPDX-License-Identifier: MIT
#include "kernels/linear.h"

#include <algorithm>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernelgrad/cuda/vec.h"
#include "kernelgrad/device_array.h"

/// Three products of matrices, by one kernel, and the sums of a matrix's columns:
///
///     forward:          output      [rows, out] = input         [rows, in]   weight^T [in, out]   + bias
///     backward_input:   grad_input  [rows, in]  = grad_output   [rows, out]  weight   [out, in]
///     backward_weight:  grad_weight [out, in]   = grad_output^T [out, rows]  input    [rows, in]
///     backward_bias:    grad_bias   [out]       = the sum of grad_output's rows
///
/// The product c = a b of [rows, inner] and [inner, columns]: a block owns 64 x 64 elements of c, a thread
/// 4 x 4 of them, in registers. The block walks along the inner dimension in steps of 16: tiles of a and b
/// (zeros beyond the ends of the matrices) are brought to shared memory, stored as [inner][outer] however the
/// operand lies in global memory, so that a thread reads its 4 + 4 factors with a 16-byte load each and
/// multiplies them 16 times. What the next step needs is loaded into registers while this step is computed.
///
/// 2 rows columns inner FLOPs. Each element of a is read once per 64 columns, of b once per 64 rows: 16 FLOPs
/// per byte of float read from L2 or DRAM.
///
/// Where the result has too few tiles to occupy the device (the weight gradient of a small layer and a large
/// batch is the extreme), the inner dimension is split: each piece is a product of its own, written to
/// scratch memory, and a second launch adds up the pieces in order. How many pieces depends on the sizes
/// alone, not on the device: the same input gives the same bits everywhere.
namespace kg::kernels::cuda {

namespace {

constexpr int block_size = 256;
constexpr int tile_outer = 64, tile_inner = 16, thread_tile = 4;
static_assert(tile_outer / thread_tile * (tile_outer / thread_tile) == block_size);

/// Elements from one inner index of a tile to the next. 4 more than needed: the transposing store of a warp
/// then meets 32 different banks (see PackPlace), and 16-byte loads stay aligned.
constexpr int tile_pitch = tile_outer + 4;
constexpr int tile_elements = tile_inner * tile_pitch;

/// Which index of an operand runs along its memory: the inner one, which is summed over, or the outer one,
/// which is also the result's.
enum class Contiguous { inner, outer };

/// 16-byte packs of a tile that each thread brings.
template <class T>
constexpr int packs_per_thread = (tile_outer * tile_inner) / pack_size<T> / block_size;

/// Where in a tile a thread's i-th pack begins.
template <class T, Contiguous contiguous>
struct PackPlace {
  int inner, outer;

  __device__ explicit PackPlace(int i) {
    const int pack = i * block_size + static_cast<int>(threadIdx.x);
    if constexpr (contiguous == Contiguous::outer) {
      constexpr int packs_per_row = tile_outer / pack_size<T>;
      outer = pack % packs_per_row * pack_size<T>;
      inner = pack / packs_per_row;
    } else {
      // A warp takes 2 packs, which are a whole sector of 32 bytes, of each of 16 rows. Element j of the
      // packs goes to inner index j or 4 + j (for floats), 16 banks apart, of 16 neighbouring columns.
      outer = pack / 2 % tile_outer;
      inner = (pack / (2 * tile_outer) * 2 + pack % 2) * pack_size<T>;
    }
  }
};

/// An operand of a product, and one thread's share in bringing its tiles to shared memory.
template <class T, Contiguous contiguous>
class TileLoader {
 public:
  /// Element (k, o) of the operand is data[o * inner + k] or data[k * outer + o]. The tiles begin at
  /// `first_outer`.
  __device__ TileLoader(const T* data, std::int64_t inner, std::int64_t outer, std::int64_t first_outer)
      : data_(data), inner_(inner), outer_(outer), first_outer_(first_outer) {}

  /// Loads the tile that begins at inner index `first` into registers, with zeros from `end` on.
  __device__ void load(std::int64_t first, std::int64_t end) {
#pragma unroll
    for (int i = 0; i < packs_per_thread<T>; ++i) {
      const PackPlace<T, contiguous> place(i);
      const std::int64_t k = first + place.inner, o = first_outer_ + place.outer;
      packs_[i] = Pack<T>{};
      if constexpr (contiguous == Contiguous::inner) {
        if (o < outer_) packs_[i] = load_pack(data_ + o * inner_, k, end);
      } else {
        if (k < end) packs_[i] = load_pack(data_ + k * outer_, o, outer_);
      }
    }
  }

  __device__ void store(T* tile) const {
#pragma unroll
    for (int i = 0; i < packs_per_thread<T>; ++i) {
      const PackPlace<T, contiguous> place(i);
      T* to = tile + place.inner * tile_pitch + place.outer;
      if constexpr (contiguous == Contiguous::inner) {
#pragma unroll
        for (int j = 0; j < pack_size<T>; ++j) to[j * tile_pitch] = packs_[i].values[j];
      } else {
        *reinterpret_cast<Pack<T>*>(to) = packs_[i];
      }
    }
  }

 private:
  const T* data_;
  std::int64_t inner_, outer_, first_outer_;
  Pack<T> packs_[packs_per_thread<T>];
};

/// A thread's factors out of one row of a tile.
template <class T>
struct Factors {
  Pack<T> packs[thread_tile / pack_size<T>];

  __device__ explicit Factors(const T* from) {
#pragma unroll
    for (int i = 0; i < thread_tile / pack_size<T>; ++i) packs[i] = reinterpret_cast<const Pack<T>*>(from)[i];
  }
  __device__ T operator[](int i) const { return packs[i / pack_size<T>].values[i % pack_size<T>]; }
};

/// c = a b + bias, with bias[column] where it is not null.
template <class T>
struct Product {
  std::int64_t rows, columns, inner;
  const T *a, *b, *bias;
  T* c;
};

/// Piece blockIdx.y of the inner dimension, of inner_per_piece indices; piece 0 has the bias. The pieces'
/// results follow each other in c.
template <class T, Contiguous a_contiguous, Contiguous b_contiguous>
__global__ void __launch_bounds__(block_size)
    linear_product_kernel(Product<T> p, std::int64_t inner_per_piece) {
  SharedMemory shared;
  T* a_tiles = shared.array<T>(2 * tile_elements);
  T* b_tiles = shared.array<T>(2 * tile_elements);

  const std::int64_t column_tiles = ceil_div(p.columns, tile_outer);
  const std::int64_t first_row = blockIdx.x / column_tiles * tile_outer,
                     first_column = blockIdx.x % column_tiles * tile_outer;
  // A warp computes 4 x 8 of the threads' tiles. It reads 12 different packs for them from shared memory; in
  // a strip of 2 x 16 it would read 18.
  const int lane = static_cast<int>(threadIdx.x) % warp_size,
            warp = static_cast<int>(threadIdx.x) / warp_size;
  const int row = (warp / 2 * 4 + lane / 8) * thread_tile, column = (warp % 2 * 8 + lane % 8) * thread_tile;

  T sums[thread_tile][thread_tile] = {};
  if (p.bias && blockIdx.y == 0) {
#pragma unroll
    for (int j = 0; j < thread_tile; j += pack_size<T>) {
      const Pack<T> bias = load_pack(p.bias, first_column + column + j, p.columns);
#pragma unroll
      for (int i = 0; i < thread_tile; ++i)
#pragma unroll
        for (int e = 0; e < pack_size<T>; ++e) sums[i][j + e] = bias.values[e];
    }
  }

  const std::int64_t begin = blockIdx.y * inner_per_piece, end = min(begin + inner_per_piece, p.inner);
  TileLoader<T, a_contiguous> a(p.a, p.inner, p.rows, first_row);
  TileLoader<T, b_contiguous> b(p.b, p.inner, p.columns, first_column);
  a.load(begin, end);
  b.load(begin, end);
  const std::int64_t steps = ceil_div(end - begin, tile_inner);
  for (std::int64_t step = 0; step != steps; ++step) {
    T* a_tile = a_tiles + step % 2 * tile_elements;
    T* b_tile = b_tiles + step % 2 * tile_elements;
    a.store(a_tile);
    b.store(b_tile);
    // Before anyone computes, the tiles must be whole. With two tiles for each operand in turn, the barrier
    // also lets nobody write a tile that others still read: they have done so before they came here.
    __syncthreads();
    // Issued before the arithmetic, which they need not wait for; beyond the last step there is nothing to
    // load.
    a.load(begin + (step + 1) * tile_inner, end);
    b.load(begin + (step + 1) * tile_inner, end);
#pragma unroll
    for (int k = 0; k < tile_inner; ++k) {
      const Factors<T> x(a_tile + k * tile_pitch + row), y(b_tile + k * tile_pitch + column);
#pragma unroll
      for (int i = 0; i < thread_tile; ++i)
#pragma unroll
        for (int j = 0; j < thread_tile; ++j) sums[i][j] += x[i] * y[j];
    }
  }

  T* c = p.c + blockIdx.y * p.rows * p.columns;
#pragma unroll
  for (int i = 0; i < thread_tile; ++i) {
    if (first_row + row + i < p.rows) {
#pragma unroll
      for (int j = 0; j < thread_tile; j += pack_size<T>) {
        Pack<T> pack;
#pragma unroll
        for (int e = 0; e < pack_size<T>; ++e) pack.values[e] = sums[i][j + e];
        store_pack(c + (first_row + row + i) * p.columns, first_column + column + j, p.columns, pack);
      }
    }
  }
}

/// Row blockIdx.y of the output = the sum of rows_per_piece rows of the input, [rows, columns]. A block owns
/// 32 neighbouring columns, so that a warp reads 32 neighbouring elements; warp w adds up rows w, w + 8, ...
template <class T>
__global__ void __launch_bounds__(block_size)
    linear_column_sums_kernel(std::int64_t rows, std::int64_t columns, std::int64_t rows_per_piece,
                              const T* input, T* output) {
  SharedMemory shared;
  T* sums = shared.array<T>(block_size);
  constexpr int warps = block_size / warp_size;
  const int lane = static_cast<int>(threadIdx.x) % warp_size,
            warp = static_cast<int>(threadIdx.x) / warp_size;
  const std::int64_t column = std::int64_t{blockIdx.x} * warp_size + lane;
  const bool exists = column < columns;
  const std::int64_t begin = blockIdx.y * rows_per_piece, end = min(begin + rows_per_piece, rows);
  T sum = 0;
  if (exists)
    for (std::int64_t r = begin + warp; r < end; r += warps) sum += input[r * columns + column];
  sums[threadIdx.x] = sum;
  // The first warp adds up what the others have written.
  __syncthreads();
  if (warp != 0 || !exists) return;
  for (int i = 1; i < warps; ++i) sum += sums[i * warp_size + lane];
  output[blockIdx.y * columns + column] = sum;
}

/// Blocks that occupy a device: about two for each multiprocessor of the largest. A constant, because results
/// must not depend on the device.
constexpr std::int64_t wanted_blocks = 256;
/// Terms of a sum that are worth a block of their own: 8 steps of a product.
constexpr std::int64_t least_terms = 128;

/// Length of the pieces into which a sum of `terms` terms is cut, where a launch has `blocks` blocks for
/// each.
std::int64_t piece_length(std::int64_t terms, std::int64_t blocks) {
  const std::int64_t pieces = std::clamp<std::int64_t>(wanted_blocks / std::max<std::int64_t>(blocks, 1), 1,
                                                       std::max<std::int64_t>(terms / least_terms, 1));
  // A multiple of the step, so that all 16-byte loads of a piece are as aligned as those of the whole.
  return std::max<std::int64_t>(ceil_div(ceil_div(terms, pieces), tile_inner), 1) * tile_inner;
}

/// 1 for an empty sum, which is to be written as well.
std::int64_t piece_count(std::int64_t terms, std::int64_t length) {
  return std::max<std::int64_t>(ceil_div(terms, length), 1);
}

/// output[column] = the sum of the input's rows, in a single pass.
template <class T>
void sum_pieces(std::int64_t pieces, std::int64_t columns, const T* input, T* output) {
  launch<linear_column_sums_kernel<T>>({.blocks = block_count(ceil_div(columns, warp_size)),
                                        .threads = block_size,
                                        .shared_bytes = SharedLayout().array<T>(block_size).bytes()},
                                       pieces, columns, pieces, input, output);
}

template <class T, Contiguous a_contiguous, Contiguous b_contiguous>
void multiply(Product<T> p) {
  // The third extent of an empty product may be of any size.
  if (p.rows == 0 || p.columns == 0) return;
  const std::int64_t tiles = ceil_div(p.rows, tile_outer) * ceil_div(p.columns, tile_outer);
  const std::int64_t length = piece_length(p.inner, tiles), pieces = piece_count(p.inner, length);
  const auto launch_product = [&] {
    constexpr std::size_t tiles_of_operand = 2 * tile_elements;
    launch<linear_product_kernel<T, a_contiguous, b_contiguous>>(
        {.blocks = dim3(block_count(tiles), static_cast<unsigned>(pieces)),
         .threads = block_size,
         .shared_bytes =
             SharedLayout().array<T>(tiles_of_operand).template array<T>(tiles_of_operand).bytes()},
        p, length);
  };
  if (pieces == 1) return launch_product();
  DeviceArray<T> partial(pieces * p.rows * p.columns);
  T* const result = p.c;
  p.c = partial.data();
  launch_product();
  sum_pieces(pieces, p.rows * p.columns, partial.data(), result);
}

template <class T>
void forward(const LinearProblem& p, const T* input, const T* weight, const T* bias, T* output) {
  multiply<T, Contiguous::inner, Contiguous::inner>({.rows = p.rows,
                                                     .columns = p.out_features,
                                                     .inner = p.in_features,
                                                     .a = input,
                                                     .b = weight,
                                                     .bias = bias,
                                                     .c = output});
}

template <class T>
void backward_input(const LinearProblem& p, const T* grad_output, const T* weight, T* grad_input) {
  multiply<T, Contiguous::inner, Contiguous::outer>({.rows = p.rows,
                                                     .columns = p.in_features,
                                                     .inner = p.out_features,
                                                     .a = grad_output,
                                                     .b = weight,
                                                     .bias = nullptr,
                                                     .c = grad_input});
}

template <class T>
void backward_weight(const LinearProblem& p, const T* input, const T* grad_output, T* grad_weight) {
  multiply<T, Contiguous::outer, Contiguous::outer>({.rows = p.out_features,
                                                     .columns = p.in_features,
                                                     .inner = p.rows,
                                                     .a = grad_output,
                                                     .b = input,
                                                     .bias = nullptr,
                                                     .c = grad_weight});
}

template <class T>
void backward_bias(const LinearProblem& p, const T* grad_output, T* grad_bias) {
  if (p.out_features == 0) return;
  const std::int64_t blocks = ceil_div(p.out_features, warp_size);
  const std::int64_t length = piece_length(p.rows, blocks), pieces = piece_count(p.rows, length);
  if (pieces == 1) return sum_pieces(p.rows, p.out_features, grad_output, grad_bias);
  DeviceArray<T> partial(pieces * p.out_features);
  launch<linear_column_sums_kernel<T>>({.blocks = dim3(block_count(blocks), static_cast<unsigned>(pieces)),
                                        .threads = block_size,
                                        .shared_bytes = SharedLayout().array<T>(block_size).bytes()},
                                       p.rows, p.out_features, length, grad_output, partial.data());
  sum_pieces(pieces, p.out_features, partial.data(), grad_bias);
}

template <class T>
constexpr LinearKernels<T> linear{forward<T>, backward_input<T>, backward_weight<T>, backward_bias<T>};

}  // namespace

template <>
Tables<LinearKernels> tables() {
  return {&linear<float>, &linear<double>};
}

}  // namespace kg::kernels::cuda
