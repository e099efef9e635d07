// SPDX-License-Identifier: MIT
#include "kernels/cuda/conv2d_parts.h"

#include <algorithm>
#include <cstdint>
#include <optional>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernelgrad/cuda/vec.h"
#include "kernels/cuda/conv2d_tiling.h"

/// Convolution of stride 1 and its input gradient, for networks of few channels and small images.
///
/// Both are the same correlation,
///
///     result[n,o,y,x] = bias[o] + sum over (c, i, j) of
///       weight(o,c,i,j) * source[n, c, y - padding + i*dilation, x - padding + j*dilation],
///
/// forward with source = input, the input gradient with source = grad_output, a padding of
/// dilation*(k-1) - padding, and the weights with in and out exchanged and taps in reverse order. That is
/// nothing but another way to find a weight in memory, so there is one kernel, and the difference is four
/// strides.
///
/// A block owns an image: all rows of all output channels. It owns some rows or some channels of one if that
/// is large or images are few, and several images if they are small and many (conv2d_tiling.h). It copies
/// what its results depend on to shared memory, as many of the source's channels at a time as fit:
///
///     tile     [images][channels][rows][pitch]   zeros where the source is outside of its image, so that
///                                                nobody has to ask later
///     weights  [quads][channels * taps][4]       of 4 output channels side by side: one 16-byte load
///
/// A thread owns 4 output channels (a quad) of 2 pixels side by side (a pair) in 4, 2 or 1 rows, in
/// registers. With 4 rows and a kernel of 3x3 it loads, for each channel of the source, 6 rows of 4 numbers
/// and 9 quads of weights, for 288 multiply-adds.
///
/// Threads 2i and 2i + 1 own the same pixels of two quads, if the quads can be halved, and the next two
/// threads the next pair: so any two that differ in bit 0 load the same pixels, any two that differ in bit 1
/// the same weights. In either case shared memory can return two registers of a warp in a cycle, otherwise
/// one.
///
/// 2 * n * c_out * out_h * out_w * c_in * k_h * k_w FLOPs. Memory traffic: source and result once (twice the
/// halo's rows where an image is cut), and the weights once for each block, from the second-level cache.
///
/// Every sum is formed by one thread in the order (c, i, j) whatever the blocks: the same bits always.
namespace kg::kernels::cuda {

namespace {

constexpr int quad = conv2d_quad, pair = conv2d_pair;
/// Loads that a thread has under way at once while it fills shared memory: of runs, and of 4 weights each.
/// More would take registers from the sums and make them spill.
template <int width>
constexpr int runs_in_flight = width == 1 ? 8 : 4;
constexpr int quads_in_flight = 4;

/// How wide accesses to global memory can be.
struct Access {
  int run;        ///< Numbers that are loaded at a time: 4, 2 or 1.
  bool in_pairs;  ///< Whether results are stored by 2.
};

/// Place (plane, row, column) of an item in an array [planes][rows][columns].
struct ItemPlace {
  int plane, row, column;

  __device__ ItemPlace(int item, int rows, int columns) {
    const int line = item / columns;
    column = item - line * columns;
    plane = line / rows;
    row = line - plane * rows;
  }
  /// Moves on by as many items as `step` is from the array's beginning: no division.
  __device__ void advance(const ItemPlace& step, int rows, int columns) {
    // Selected, not branched to: neighbouring threads wrap at different times.
    column += step.column;
    const bool next_row = column >= columns;
    column -= next_row ? columns : 0;
    row += step.row + next_row;
    const bool next_plane = row >= rows;
    row -= next_plane ? rows : 0;
    plane += step.plane + next_plane;
  }
};

__device__ int block_threads() { return static_cast<int>(blockDim.x * blockDim.y * blockDim.z); }
__device__ int thread_in_block() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}
/// 0 <= i < extent.
__device__ bool is_inside(int i, int extent) {
  return static_cast<unsigned>(i) < static_cast<unsigned>(extent);
}

/// Fills `planes` planes of the tile. `width` divides the image's width, its padding and the pitch, so that a
/// run is inside of the image or outside, never both.
template <int width, class T>
__device__ void load_tile(const Tiling& t, const T* __restrict__ source, int planes, int first_row, T* tile) {
  constexpr int batch = runs_in_flight<width>;
  const int columns = t.pitch / width, threads = block_threads(), thread = thread_in_block();
  const ItemPlace step(threads, t.tile_rows, columns);
  ItemPlace at(thread, t.tile_rows, columns);
  auto* runs = reinterpret_cast<Pack<T, width>*>(tile) + thread;
  for (int left = planes * t.tile_rows * columns - thread; left > 0; left -= batch * threads) {
    // First all loads, then all stores: one wait for memory in place of `batch`.
    Pack<T, width> values[batch];
    bool exists[batch];
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      const int y = first_row + at.row, x = at.column * width - t.padding_w;
      exists[i] = i * threads < left;
      values[i] = {};
      if (exists[i] && is_inside(y, t.h) && is_inside(x, t.w))
        values[i] = *reinterpret_cast<const Pack<T, width>*>(source + (at.plane * t.h + y) * t.w + x);
      at.advance(step, t.tile_rows, columns);
    }
#pragma unroll
    for (int i = 0; i < batch; ++i)
      if (exists[i]) runs[i * threads] = values[i];
    runs += batch * threads;
  }
}

/// Fills the weights of the block's quads for `channels` channels of the source.
template <class T>
__device__ void load_weights(const Tiling& t, const T* __restrict__ weight, int first_out, int channels,
                             Pack<T, quad>* quads) {
  constexpr int batch = quads_in_flight;
  const int taps = t.k_h * t.k_w, threads = block_threads(), thread = thread_in_block();
  const ItemPlace step(threads, channels, taps);
  ItemPlace at(thread, channels, taps);
  for (int left = t.quads * channels * taps - thread; left > 0; left -= batch * threads) {
    Pack<T, quad> values[batch];
    int slots[batch];
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      const int out = first_out + at.plane * quad;
      const int first = out * t.weight.out + at.row * t.weight.in + at.column * t.weight.step;
      const bool exists = i * threads < left;
      slots[i] = exists ? at.plane * t.quad_pitch + at.row * taps + at.column : -1;
#pragma unroll
      for (int o = 0; o < quad; ++o)
        values[i].values[o] = exists && out + o < t.c_out ? weight[first + o * t.weight.out] : T(0);
      at.advance(step, channels, taps);
    }
#pragma unroll
    for (int i = 0; i < batch; ++i)
      if (slots[i] >= 0) quads[slots[i]] = values[i];
  }
}

/// What a thread owns: [output channel][row][pixel].
template <class T, int rows>
struct Sums {
  T values[quad][rows][pair] = {};
};

/// Adds the products of `channels` channels for a square kernel without dilation whose size is known.
/// `window` is where the thread's first pixel finds its first tap. Rows that several output rows need are
/// loaded once: all is unrolled, and the compiler sees that they are the same.
template <int size, int rows, class T>
__device__ void add_products(const Tiling& t, const T* window, const Pack<T, quad>* weights, int channels,
                             Sums<T, rows>& sums) {
  constexpr int pairs = (size + pair) / pair;
  const int plane = t.tile_rows * t.pitch;
  for (int c = 0; c < channels; ++c, window += plane, weights += size * size)
#pragma unroll
    for (int i = 0; i < size; ++i)
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        Pack<T, pair> pixels[pairs];
#pragma unroll
        for (int x = 0; x < pairs; ++x)
          pixels[x] = *reinterpret_cast<const Pack<T, pair>*>(window + (i + r) * t.pitch + x * pair);
#pragma unroll
        for (int j = 0; j < size; ++j) {
          const Pack<T, quad> w = weights[i * size + j];
#pragma unroll
          for (int o = 0; o < quad; ++o)
#pragma unroll
            for (int x = 0; x < pair; ++x)
              sums.values[o][r][x] += w.values[o] * pixels[(x + j) / pair].values[(x + j) % pair];
        }
      }
}

/// The same for any kernel.
template <int rows, class T>
__device__ void add_products_of_any_kernel(const Tiling& t, const T* window, const Pack<T, quad>* weights,
                                           int channels, Sums<T, rows>& sums) {
  const int plane = t.tile_rows * t.pitch;
  for (int c = 0; c < channels; ++c, window += plane)
    for (int i = 0; i < t.k_h; ++i)
      for (int j = 0; j < t.k_w; ++j, ++weights) {
        const Pack<T, quad> w = *weights;
        const T* const pixels = window + i * t.dilation_h * t.pitch + j * t.dilation_w;
#pragma unroll
        for (int r = 0; r < rows; ++r)
#pragma unroll
          for (int x = 0; x < pair; ++x) {
            const T pixel = pixels[r * t.pitch + x];
#pragma unroll
            for (int o = 0; o < quad; ++o) sums.values[o][r][x] += w.values[o] * pixel;
          }
      }
}

/// Writes what exists of a thread's results; (out, y, x) is the first. `image` is the result's image.
template <int rows, class T>
__device__ void store(const Tiling& t, const Sums<T, rows>& sums, bool in_pairs, int out, int y, int x,
                      const T* bias, T* image) {
#pragma unroll
  for (int o = 0; o < quad; ++o) {
    if (out + o < t.c_out) {
      const T offset = bias ? bias[out + o] : T(0);
#pragma unroll
      for (int r = 0; r < rows; ++r)
        if (y + r < t.out_h) {
          T* const pixel = image + ((out + o) * t.out_h + y + r) * t.out_w + x;
          const Pack<T, pair> result{sums.values[o][r][0] + offset, sums.values[o][r][1] + offset};
          if (in_pairs) {
            *reinterpret_cast<Pack<T, pair>*>(pixel) = result;
          } else {
            pixel[0] = result.values[0];
            if (x + 1 < t.out_w) pixel[1] = result.values[1];
          }
        }
    }
  }
}

/// `size`: that of a square kernel without dilation; 0 for every other. Threads are (pair and quad, step of
/// `rows` rows, other quads and image).
template <class T, int size, int rows>
__global__ void __launch_bounds__(conv2d_max_threads, 2)
    conv2d_tiled_kernel(const Tiling t, const Access access, const T* __restrict__ source,
                        const T* __restrict__ weight, const T* __restrict__ bias, T* __restrict__ result) {
  SharedMemory shared;
  T* const tile = shared.array<T>(t.images * t.channels * t.tile_rows * t.pitch);
  auto* const weights = shared.array<Pack<T, quad>>(t.quads * t.quad_pitch);

  // Blocks that read the same source are neighbours in time.
  const int block = static_cast<int>(blockIdx.x), part = block % (t.channel_blocks * t.bands);
  const int first_out = part % t.channel_blocks * t.quads * quad, band = part / t.channel_blocks;
  const std::int64_t first_image = std::int64_t{block / (t.channel_blocks * t.bands)} * t.images;
  const int images = static_cast<int>(min(std::int64_t{t.images}, t.n - first_image));
  const int first_row = band * t.steps * rows;

  const int across = static_cast<int>(threadIdx.x), depth = static_cast<int>(threadIdx.z),
            quad_groups = t.quads / t.neighbour_quads;
  const int x = across / t.neighbour_quads * pair, y = static_cast<int>(threadIdx.y) * rows;
  const int own_quad = depth % quad_groups * t.neighbour_quads + across % t.neighbour_quads,
            image = depth / quad_groups;
  Sums<T, rows> sums;
  for (int left = t.c_in; left > 0; left -= t.channels) {
    const int c = t.c_in - left, channels = min(t.channels, left);
    // Nobody may overwrite the channels before while others still read them.
    if (c > 0) __syncthreads();
    // With several images all channels are there at once, so that all planes are contiguous.
    const T* const planes = source + (first_image * t.c_in + c) * t.h * t.w;
    if (access.run == 4)
      load_tile<4>(t, planes, images * channels, first_row - t.padding_h, tile);
    else if (access.run == 2)
      load_tile<2>(t, planes, images * channels, first_row - t.padding_h, tile);
    else
      load_tile<1>(t, planes, images * channels, first_row - t.padding_h, tile);
    load_weights(t, weight + t.weight.first + c * t.weight.in, first_out, channels, weights);
    // A thread reads what all others have loaded.
    __syncthreads();
    const T* const window = tile + (image * channels * t.tile_rows + y) * t.pitch + x;
    const Pack<T, quad>* const filters = weights + own_quad * t.quad_pitch;
    if constexpr (size > 0)
      add_products<size>(t, window, filters, channels, sums);
    else
      add_products_of_any_kernel(t, window, filters, channels, sums);
  }
  if (image < images)
    store(t, sums, access.in_pairs, first_out + own_quad * quad, first_row + y, x, bias,
          result + (first_image + image) * t.c_out * t.out_h * t.out_w);
}

/// The sizes that kernels are compiled for; 0, for all others.
int known_size(const Correlation& c) {
  if (c.k_h != c.k_w || c.dilation_h != 1 || c.dilation_w != 1) return 0;
  return c.k_h == 1 || c.k_h == 3 || c.k_h == 5 ? static_cast<int>(c.k_h) : 0;
}

/// The most rows that a thread owns. double, which is for checks, would need twice the registers; 4 rows of a
/// 5x5 kernel spill, and are the only ones to do so.
template <class T>
constexpr int max_rows(int size) {
  if (sizeof(T) > sizeof(float) || size == 0) return 1;
  return size == 5 ? 2 : 4;
}

/// Whether `width` numbers at `address` can be accessed as a Pack.
template <int width, class T>
bool is_aligned(const T* address) {
  return reinterpret_cast<std::uintptr_t>(address) % alignof(Pack<T, width>) == 0;
}

/// Numbers in a run: as many as rows and padding are multiples of.
template <class T>
int run_width(const Correlation& c, const T* source) {
  const auto divides = [&](int width) { return c.w % width == 0 && c.padding_w % width == 0; };
  if (divides(4) && is_aligned<4>(source)) return 4;
  if (divides(2) && is_aligned<2>(source)) return 2;
  return 1;
}

template <int size, int rows, class T>
void launch_tiled(const Tiling& t, const Access& access, const T* source, const T* weight, const T* bias,
                  T* result) {
  if constexpr (rows > 1)
    if (t.rows < rows) return launch_tiled<size, rows / 2>(t, access, source, weight, bias, result);
  launch<conv2d_tiled_kernel<T, size, rows>>(
      {.blocks = block_count(t.blocks()),
       .threads = dim3(static_cast<unsigned>(t.pairs * t.neighbour_quads), static_cast<unsigned>(t.steps),
                       static_cast<unsigned>(t.quads / t.neighbour_quads * t.images)),
       .shared_bytes = SharedLayout()
                           .array<T>(static_cast<std::size_t>(t.tile_size()))
                           .template array<T>(static_cast<std::size_t>(t.weights_size()))
                           .bytes()},
      t, access, source, weight, bias, result);
}

/// Returns false, with nothing done, if the correlation is not one for the tiled kernel.
template <class T>
bool correlate(const Correlation& c, const T* source, const T* weight, const T* bias, T* result) {
  if (c.n * c.c_out * c.out_h() * c.out_w() == 0) return true;
  const int size = known_size(c), rows = conv2d_rows_per_thread(c, max_rows<T>(size));
  const Access access{.run = run_width(c, source),
                      .in_pairs = c.out_w() % pair == 0 && is_aligned<pair>(result)};
  const std::optional<Tiling> t = conv2d_tiling(c, rows, sizeof(T), std::max(access.run, pair));
  if (!t) return false;
  switch (size) {
    case 1:
      launch_tiled<1, max_rows<T>(1)>(*t, access, source, weight, bias, result);
      break;
    case 3:
      launch_tiled<3, max_rows<T>(3)>(*t, access, source, weight, bias, result);
      break;
    case 5:
      launch_tiled<5, max_rows<T>(5)>(*t, access, source, weight, bias, result);
      break;
    default:
      launch_tiled<0, max_rows<T>(0)>(*t, access, source, weight, bias, result);
  }
  return true;
}

bool is_dense(const Conv2dProblem& p) { return p.stride_h == 1 && p.stride_w == 1 && p.groups == 1; }

}  // namespace

template <class T>
bool conv2d_forward_tiled(const Conv2dProblem& p, const T* input, const T* weight, const T* bias, T* output) {
  return is_dense(p) && correlate(forward_correlation(p), input, weight, bias, output);
}
template bool conv2d_forward_tiled(const Conv2dProblem&, const float*, const float*, const float*, float*);
template bool conv2d_forward_tiled(const Conv2dProblem&, const double*, const double*, const double*,
                                   double*);

template <class T>
bool conv2d_backward_input_tiled(const Conv2dProblem& p, const T* grad_output, const T* weight,
                                 T* grad_input) {
  return is_dense(p) && correlate(backward_input_correlation(p), grad_output, weight,
                                  static_cast<const T*>(nullptr), grad_input);
}
template bool conv2d_backward_input_tiled(const Conv2dProblem&, const float*, const float*, float*);
template bool conv2d_backward_input_tiled(const Conv2dProblem&, const double*, const double*, double*);

}  // namespace kg::kernels::cuda
