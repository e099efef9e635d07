// SPDX-License-Identifier: MIT
#include "kernels/cuda/conv2d_parts.h"

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernelgrad/cuda/vec.h"
#include "kernelgrad/device_array.h"
#include "kernels/cuda/block_sum.h"

/// grad_weight[o,c,i,j] = sum over (n, y, x) of
///   grad_output[n,o,y,x] * input[n, c, y*stride - padding + i*dilation, x*stride - padding + j*dilation]
/// grad_bias[o] = sum over (n, y, x) of grad_output[n,o,y,x]
///
/// Few results, each a long sum. Blocks sum over slices of the batch and write a row each of an array
/// [slices][results]; a second launch adds the rows up. Every sum has an order that follows from the problem
/// alone, so the same input gives the same bits.
///
/// conv2d_backward_weight_tiled_kernel: kernels of 3x3 and 1x1 with stride and dilation 1.
///   A block owns some output and input channels of a group, and a slice of the tiles into which the images
///   are cut. It takes its tiles one after the other to shared memory: the planes of grad_output, and those
///   of the input with the rows and columns around that the taps reach, zeros where there is no image.
///   A thread owns a unit, 4 output channels times 1 input channel with 9 taps (or times 4 input channels
///   with 1 tap), and of each tile every lanes-th strip of 4 pixels. For a strip of a 3x3 kernel it loads
///   4x4 gradients and 3x6 inputs, and does 144 multiply-adds with them, the 36 sums in registers.
///   In the end the lanes' sums are added up through shared memory.
/// conv2d_backward_weight_general_kernel: everything else.
///   A block owns 4 output channels times 3 taps (or 1) in a row of the kernel for one input channel, and a
///   slice of the pixels (n, y, x), which its threads share out. It reads from global memory, through the
///   caches.
/// conv2d_backward_bias_kernel: a block owns an output channel and a slice of the images.
/// conv2d_backward_sum_slices_kernel: the second launch. A warp owns 32 results and some of the slices.
///
/// 2 * n * out_h * out_w * c_out * c_in / groups * k_h * k_w FLOPs. Bytes: the input and grad_output once
/// for each block that needs them (once at all with at most 16 channels on either side), and the slices
/// twice.
namespace kg::kernels::cuda {

namespace {

/// Blocks that keep a large GPU busy: two for each of the 132 multiprocessors of an H100. A constant, so that
/// results do not depend on the device.
constexpr std::int64_t enough_blocks = 264;
/// Terms that a thread adds up one after the other. Errors of float grow with the length of such a chain.
constexpr std::int64_t max_chain = 1024;

// ---- Both passes ----

/// Adds up a share of the slices of 32 results per warp, then the shares.
template <class T>
__global__ void __launch_bounds__(1024)
    conv2d_backward_sum_slices_kernel(std::int64_t slices, std::int64_t count, const T* __restrict__ partial,
                                      T* __restrict__ result) {
  const int lane = static_cast<int>(threadIdx.x) % warp_size,
            warp = static_cast<int>(threadIdx.x) / warp_size;
  const int warps = static_cast<int>(blockDim.x) / warp_size;
  const std::int64_t element = std::int64_t{blockIdx.x} * warp_size + lane;
  SharedMemory shared;
  T* shares = shared.array<T>(blockDim.x);
  T sum = 0;
  if (element < count) {
    // Sixteen loads in flight: there is nothing else to hide their latency behind.
#pragma unroll 16
    for (std::int64_t slice = warp; slice < slices; slice += warps) sum += partial[slice * count + element];
  }
  shares[threadIdx.x] = sum;
  // The first warp reads what the others have written.
  __syncthreads();
  if (warp > 0 || element >= count) return;
  for (int other = 1; other < warps; ++other) sum += shares[other * warp_size + lane];
  result[element] = sum;
}

/// Calls first_pass(rows) with where to write [slices][count] sums, and adds the slices up into `result`.
template <class T, class FirstPass>
void sum_in_slices(std::int64_t slices, std::int64_t count, T* result, const FirstPass& first_pass) {
  if (slices == 1) return first_pass(result);
  DeviceArray<T> partial(slices * count);
  first_pass(partial.data());
  // A chain of at most 16 slices a warp, while there are warps.
  const unsigned threads =
      warp_size * static_cast<unsigned>(std::min<std::int64_t>(ceil_div(slices, 16), 32));
  launch<conv2d_backward_sum_slices_kernel<T>>({.blocks = block_count(ceil_div(count, warp_size)),
                                                .threads = threads,
                                                .shared_bytes = SharedLayout().array<T>(threads).bytes()},
                                               slices, count, partial.data(), result);
}

// ---- Weight gradient, tiled ----

/// Pixels of a row that a thread takes at a time: 16 bytes of float.
constexpr int strip = 4;

/// What a thread owns, so that each value loaded serves several multiply-adds.
template <int kernel>
struct Unit {
  static constexpr int outputs = 4, inputs = kernel == 1 ? 4 : 1, taps = kernel * kernel;
  static constexpr int sums = outputs * inputs * taps;
  /// Columns of the input that a strip's taps reach.
  static constexpr int columns = strip + kernel - 1;
};

template <class T>
constexpr int tiled_threads = 1024 / static_cast<int>(sizeof(T));

/// How a window of planes [.., h, w] gets to a tile [planes][rows][columns] in shared memory, `vector`
/// columns at a time. The threads divide into [planes_at_once][vectors_at_once].
struct WindowShape {
  int h, w;
  int rows, columns, pitch, plane;  ///< of the tile
  int vector, vectors_at_once, planes_at_once;
};

/// The work of the tiled kernel, in 32 bits: tiling_fits() sees to that.
struct TiledWork {
  int groups, c_in, c_out;  ///< Channels of a group.
  int padding_h, padding_w;
  WindowShape input, gradient;
  unsigned tiles, tiles_y, tiles_x;  ///< Of all images, down an image, across it.
  unsigned tiles_per_slice;
  int tile_h, tile_w;                        ///< Pixels of grad_output; tile_w is a multiple of strip.
  int o_blocks, c_blocks;                    ///< Blocks that share out the channels of a group.
  int o_units, c_units, lanes;               ///< A block's threads that compute: [lanes][o_units][c_units].
  int strips_per_row, row_step, strip_step;  ///< `lanes` strips on are so many rows and strips.
  int parts, lanes_per_part;                 ///< The lanes of a block write this many slices.

  int blocks_per_slice() const { return groups * o_blocks * c_blocks; }
  __host__ __device__ int units() const { return o_units * c_units; }
  /// Of the sums that the lanes hand each other: [sums][sums_pitch]. The results are read in the order of
  /// grad_weight, taps first, from banks 4 apart.
  __host__ __device__ int sums_pitch() const { return (lanes * units() + 31) / 32 * 32 + 4; }
};

/// Elements of shared memory: the tiles, and once they have been used the sums in the same place, since
/// blocks that fit side by side on a multiprocessor hide each other's latencies.
template <int kernel>
__host__ __device__ int shared_elements(const TiledWork& tiling) {
  using U = Unit<kernel>;
  const int tiles =
      tiling.c_units * U::inputs * tiling.input.plane + tiling.o_units * U::outputs * tiling.gradient.plane;
  const int sums = U::sums * tiling.sums_pitch();
  return tiles > sums ? tiles : sums;
}

/// Reads `count` values from shared memory, as many at a time as 16 bytes hold. `from` must be so aligned.
template <int count, class T>
__device__ void load_values(const T* from, T* values) {
  constexpr int width = count < pack_size<T> ? count : pack_size<T>;
#pragma unroll
  for (int i = 0; i < count; i += width) {
    const auto vector = *reinterpret_cast<const Pack<T, width>*>(from + i);
#pragma unroll
    for (int j = 0; j < width; ++j) values[i + j] = vector.values[j];
  }
}

/// Loads the window whose first row and column are (y, x), which may lie outside the image: zeros there.
/// `count` planes exist; the tile's others keep what they hold, as nobody asks for what comes of it.
template <int width, class T>
__device__ void load_window(const WindowShape& shape, const T* __restrict__ planes, int count, int y, int x,
                            T* tile) {
  // So many loads are in flight, 32 bytes at least, before the first is waited for.
  constexpr int batch = width == 1 ? 8 : 4;
  const unsigned vectors_per_row = shape.columns / width, vectors = vectors_per_row * shape.rows;
  const int first_plane = static_cast<int>(threadIdx.x / shape.vectors_at_once);
  const std::int64_t from_step = std::int64_t{shape.planes_at_once} * shape.h * shape.w;
  const int to_step = shape.planes_at_once * shape.plane;
  // Threads that are left over when the others make up whole planes.
  if (first_plane >= shape.planes_at_once) return;
  for (unsigned vector = threadIdx.x % shape.vectors_at_once; vector < vectors;
       vector += shape.vectors_at_once) {
    const int row = static_cast<int>(vector / vectors_per_row);
    const int column = static_cast<int>(vector % vectors_per_row) * width;
    const bool inside = static_cast<unsigned>(y + row) < static_cast<unsigned>(shape.h) &&
                        static_cast<unsigned>(x + column) < static_cast<unsigned>(shape.w);
    const T* from = planes + (first_plane * shape.h + y + row) * shape.w + x + column;
    T* to = tile + first_plane * shape.plane + row * shape.pitch + column;
    for (int left = count - first_plane; left > 0; left -= batch * shape.planes_at_once) {
      const int to_load = inside ? left : 0;
      Pack<T, width> values[batch] = {};
#pragma unroll
      for (int i = 0; i < batch; ++i, from += from_step)
        if (i * shape.planes_at_once < to_load) values[i] = *reinterpret_cast<const Pack<T, width>*>(from);
#pragma unroll
      for (int i = 0; i < batch; ++i, to += to_step)
        if (i * shape.planes_at_once < left) *reinterpret_cast<Pack<T, width>*>(to) = values[i];
    }
  }
}

template <class T>
__device__ void load_window(const WindowShape& shape, const T* __restrict__ planes, int count, int y, int x,
                            T* tile) {
  if (shape.vector == pack_size<T>)
    load_window<pack_size<T>>(shape, planes, count, y, x, tile);
  else if (pack_size<T> > 2 && shape.vector == 2)
    load_window<2>(shape, planes, count, y, x, tile);
  else
    load_window<1>(shape, planes, count, y, x, tile);
}

/// Adds the products of a strip of pixels. `input` and `gradient` are the thread's first planes, at the
/// strip.
template <int kernel, class T>
__device__ void add_strip(const TiledWork& tiling, const T* input, const T* gradient,
                          T (&sums)[Unit<kernel>::outputs][Unit<kernel>::inputs][Unit<kernel>::taps]) {
  using U = Unit<kernel>;
  T gradients[U::outputs][strip];
#pragma unroll
  for (int o = 0; o < U::outputs; ++o) load_values<strip>(gradient + o * tiling.gradient.plane, gradients[o]);
#pragma unroll
  for (int c = 0; c < U::inputs; ++c)
#pragma unroll
    for (int i = 0; i < kernel; ++i) {
      const T* row = input + c * tiling.input.plane + i * tiling.input.pitch;
      T inputs[U::columns];
      load_values<strip>(row, inputs);
      if constexpr (kernel > 1) load_values<kernel - 1>(row + strip, inputs + strip);
#pragma unroll
      for (int x = 0; x < strip; ++x)
#pragma unroll
        for (int j = 0; j < kernel; ++j)
#pragma unroll
          for (int o = 0; o < U::outputs; ++o) sums[o][c][i * kernel + j] += gradients[o][x] * inputs[x + j];
    }
}

/// partial: [slices * parts][groups][c_out][c_in][taps].
template <class T, int kernel>
__global__ void __launch_bounds__(tiled_threads<T>)
    conv2d_backward_weight_tiled_kernel(TiledWork tiling, const T* __restrict__ input,
                                        const T* __restrict__ grad_output, T* __restrict__ partial) {
  using U = Unit<kernel>;
  const unsigned units = tiling.units(), unit = threadIdx.x % units;
  const int lane = static_cast<int>(threadIdx.x / units);
  // The others only help to load, and to add up in the end.
  const bool computes = lane < tiling.lanes;
  const int o_unit = static_cast<int>(unit / tiling.c_units),
            c_unit = static_cast<int>(unit % tiling.c_units);
  // Neighbours are blocks that read the same images, at about the same time.
  unsigned block = blockIdx.x;
  const int c_first = static_cast<int>(block % tiling.c_blocks) * tiling.c_units * U::inputs;
  block /= tiling.c_blocks;
  const int o_first = static_cast<int>(block % tiling.o_blocks) * tiling.o_units * U::outputs;
  block /= tiling.o_blocks;
  const int group = static_cast<int>(block % tiling.groups), slice = static_cast<int>(block / tiling.groups);
  const int o_count = min(tiling.o_units * U::outputs, tiling.c_out - o_first);
  const int c_count = min(tiling.c_units * U::inputs, tiling.c_in - c_first);

  SharedMemory shared;
  T* memory = shared.array<T>(shared_elements<kernel>(tiling));
  T* input_tile = memory;
  T* gradient_tile = memory + tiling.c_units * U::inputs * tiling.input.plane;

  T sums[U::outputs][U::inputs][U::taps] = {};
  const int first_row = static_cast<unsigned>(lane) / static_cast<unsigned>(tiling.strips_per_row);
  const int first_strip = lane - first_row * tiling.strips_per_row;
  const T* thread_input = input_tile + c_unit * U::inputs * tiling.input.plane;
  const T* thread_gradient = gradient_tile + o_unit * U::outputs * tiling.gradient.plane;

  unsigned tile = slice * tiling.tiles_per_slice;
  const unsigned end = min(tile + tiling.tiles_per_slice, tiling.tiles);
  for (; tile < end; ++tile) {
    const unsigned row_of_tiles = tile / tiling.tiles_x, image = row_of_tiles / tiling.tiles_y;
    const int y = static_cast<int>(row_of_tiles % tiling.tiles_y) * tiling.tile_h;
    const int x = static_cast<int>(tile % tiling.tiles_x) * tiling.tile_w;
    const std::int64_t input_plane = (std::int64_t{image} * tiling.groups + group) * tiling.c_in + c_first;
    const std::int64_t gradient_plane =
        (std::int64_t{image} * tiling.groups + group) * tiling.c_out + o_first;
    load_window(tiling.input, input + input_plane * tiling.input.h * tiling.input.w, c_count,
                y - tiling.padding_h, x - tiling.padding_w, input_tile);
    load_window(tiling.gradient, grad_output + gradient_plane * tiling.gradient.h * tiling.gradient.w,
                o_count, y, x, gradient_tile);
    // The tile is read by others than those who have written it.
    __syncthreads();
    int row = computes ? first_row : tiling.tile_h, column = first_strip;
    while (row < tiling.tile_h) {
      add_strip<kernel>(tiling, thread_input + row * tiling.input.pitch + column * strip,
                        thread_gradient + row * tiling.gradient.pitch + column * strip, sums);
      row += tiling.row_step;
      column += tiling.strip_step;
      if (column >= tiling.strips_per_row) {
        column -= tiling.strips_per_row;
        ++row;
      }
    }
    // The next tile, or the sums, must not overwrite what others still read.
    __syncthreads();
  }

  const int pitch = tiling.sums_pitch();
  if (computes) {
#pragma unroll
    for (int o = 0; o < U::outputs; ++o)
#pragma unroll
      for (int c = 0; c < U::inputs; ++c)
#pragma unroll
        for (int tap = 0; tap < U::taps; ++tap)
          memory[((o * U::inputs + c) * U::taps + tap) * pitch + threadIdx.x] = sums[o][c][tap];
  }
  // A result is the sum of what several lanes have written.
  __syncthreads();
  const unsigned results_per_output = c_count * U::taps, results = o_count * results_per_output;
  for (unsigned index = threadIdx.x; index < tiling.parts * results; index += tiled_threads<T>) {
    const unsigned part = index / results, result = index - part * results;
    const unsigned o = result / results_per_output, of_output = result - o * results_per_output;
    const unsigned c = of_output / U::taps, tap = of_output % U::taps;
    const unsigned sum_index = (o % U::outputs * U::inputs + c % U::inputs) * U::taps + tap;
    const T* of_unit = memory + sum_index * pitch + o / U::outputs * tiling.c_units + c / U::inputs;
    const int lanes_end = min(static_cast<int>(part + 1) * tiling.lanes_per_part, tiling.lanes);
    T sum = 0;
#pragma unroll 8
    for (int other = static_cast<int>(part) * tiling.lanes_per_part; other < lanes_end; ++other)
      sum += of_unit[other * units];
    const std::int64_t channel = (std::int64_t{slice} * tiling.parts + part) * tiling.groups + group;
    partial[((channel * tiling.c_out + o_first + o) * tiling.c_in + c_first) * U::taps + of_output] = sum;
  }
}

/// Whether the tiled kernel can do it, with 32-bit arithmetic.
bool tiling_fits(const Conv2dProblem& p) {
  const bool square = p.k_h == p.k_w && (p.k_h == 1 || p.k_h == 3);
  const bool dense = p.stride_h == 1 && p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1;
  const std::int64_t limit = std::numeric_limits<std::int32_t>::max() / 2;
  const std::int64_t image =
      std::max(p.c_in * (p.h + 2 * p.padding_h) * (p.w + 2 * p.padding_w), p.c_out * p.out_h() * p.out_w());
  return square && dense && image <= limit && p.n <= limit / (p.out_h() * p.out_w());
}

/// At least `count`, a multiple of 16 bytes, and not of 32: planes that neighbouring threads read at the same
/// place then lie in different banks.
template <class T>
int odd_packs(int count) {
  const int packs = (count + pack_size<T> - 1) / pack_size<T>;
  return (packs | 1) * pack_size<T>;
}

int ceil_div_int(std::int64_t count, std::int64_t size) { return static_cast<int>(ceil_div(count, size)); }

/// Which channels a block takes, with a thread for each unit and 4 lanes at least.
template <class T, int kernel>
void share_out_channels(const Conv2dProblem& p, TiledWork& tiling) {
  using U = Unit<kernel>;
  constexpr int max_units = tiled_threads<T> / 4, max_o_units = 4;
  tiling.groups = static_cast<int>(p.groups);
  tiling.c_in = static_cast<int>(p.c_in / p.groups);
  tiling.c_out = static_cast<int>(p.c_out / p.groups);
  const int o_units = ceil_div_int(tiling.c_out, U::outputs), c_units = ceil_div_int(tiling.c_in, U::inputs);
  tiling.o_blocks = ceil_div_int(o_units, max_o_units);
  tiling.o_units = ceil_div_int(o_units, tiling.o_blocks);
  tiling.c_blocks = ceil_div_int(c_units, max_units / tiling.o_units);
  tiling.c_units = ceil_div_int(c_units, tiling.c_blocks);
}

/// How images are cut into tiles.
template <class T, int kernel>
void cut_images(const Conv2dProblem& p, TiledWork& tiling) {
  using U = Unit<kernel>;
  // Without padding a 1x1 kernel does not care for rows: a plane is one long row.
  const bool flat = kernel == 1 && p.padding_h == 0 && p.padding_w == 0;
  const auto height = [&](std::int64_t h) { return flat ? 1 : static_cast<int>(h); };
  const auto width = [&](std::int64_t h, std::int64_t w) { return static_cast<int>(flat ? h * w : w); };
  tiling.padding_h = static_cast<int>(p.padding_h);
  tiling.padding_w = static_cast<int>(p.padding_w);
  WindowShape &input = tiling.input, &gradient = tiling.gradient;
  input.h = height(p.h), input.w = width(p.h, p.w);
  gradient.h = height(p.out_h()), gradient.w = width(p.out_h(), p.out_w());

  // Narrow enough for a row of all channels of a block to fit, which a 1x1 kernel can have many of; below
  // min_tile_h rows, too many would be loaded by two blocks.
  constexpr int min_tile_h = 8;
  const int inputs = tiling.c_units * U::inputs, outputs = tiling.o_units * U::outputs;
  const int budget = U::sums * tiled_threads<T>;
  const int max_tile_w =
      kernel == 1 ? std::clamp(budget / (inputs + outputs) / strip * strip, strip, 128) : 32;
  const int tiles_x = ceil_div_int(gradient.w, max_tile_w);
  tiling.tile_w = ceil_div_int(gradient.w, tiles_x * strip) * strip;
  gradient.pitch = tiling.tile_w;
  input.pitch = tiling.tile_w + (kernel > 1 ? strip : 0);

  // As many rows as fit into what the sums take, but not so many that there are too few tiles.
  const int rows = std::max(
      1, (budget - inputs * (kernel - 1) * input.pitch) / (inputs * input.pitch + outputs * gradient.pitch));
  const std::int64_t blocks = p.n * tiles_x * tiling.blocks_per_slice();
  const std::int64_t wanted =
      std::min<std::int64_t>(enough_blocks / std::max<std::int64_t>(blocks, 1), gradient.h / min_tile_h);
  const int tiles_y = static_cast<int>(std::max(ceil_div(gradient.h, rows), wanted));
  tiling.tile_h = ceil_div_int(gradient.h, tiles_y);
  tiling.tiles_y = static_cast<unsigned>(ceil_div_int(gradient.h, tiling.tile_h));
  tiling.tiles_x = static_cast<unsigned>(ceil_div_int(gradient.w, tiling.tile_w));
  tiling.tiles = static_cast<unsigned>(p.n) * tiling.tiles_y * tiling.tiles_x;
  input.rows = tiling.tile_h + kernel - 1;
  gradient.rows = tiling.tile_h;
  input.plane = odd_packs<T>(input.rows * input.pitch);
  gradient.plane = odd_packs<T>(gradient.rows * gradient.pitch);
}

/// How many elements are loaded at a time: as many, of those that 16 bytes hold, as divide rows and
/// addresses.
template <class T>
void choose_vectors(const T* array, int padding, int columns, WindowShape& shape) {
  shape.vector = pack_size<T>;
  while (shape.w % shape.vector != 0 || padding % shape.vector != 0 ||
         reinterpret_cast<std::uintptr_t>(array) % (sizeof(T) * static_cast<std::size_t>(shape.vector)) != 0)
    shape.vector /= 2;
  shape.columns = ceil_div_int(columns, shape.vector) * shape.vector;
  shape.vectors_at_once = std::min(shape.rows * shape.columns / shape.vector, tiled_threads<T>);
  shape.planes_at_once = tiled_threads<T> / shape.vectors_at_once;
}

/// Which tiles a block takes, and how its threads share out the strips of one. Returns the number of slices.
template <class T, int kernel>
std::int64_t share_out_tiles(TiledWork& tiling) {
  using U = Unit<kernel>;
  tiling.strips_per_row = tiling.tile_w / strip;
  const int strips = tiling.tile_h * tiling.strips_per_row;
  const int rounds = ceil_div_int(strips, tiled_threads<T> / (tiling.o_units * tiling.c_units));
  tiling.lanes = ceil_div_int(strips, rounds);
  tiling.row_step = tiling.lanes / tiling.strips_per_row;
  tiling.strip_step = tiling.lanes % tiling.strips_per_row;

  const std::int64_t wanted = ceil_div(enough_blocks, tiling.blocks_per_slice());
  const std::int64_t tiles_per_chain = std::max<std::int64_t>(1, max_chain / (rounds * strip));
  const std::int64_t per_slice =
      std::clamp<std::int64_t>((tiling.tiles + wanted / 2) / wanted, 1, tiles_per_chain);
  const std::int64_t slices = std::max<std::int64_t>(1, ceil_div(tiling.tiles, per_slice));
  tiling.tiles_per_slice = static_cast<unsigned>(per_slice);

  // With fewer results than threads, threads share out the lanes, unless that makes the second launch long.
  constexpr std::int64_t many_slices = 512;
  const int results = std::min(tiling.o_units * U::outputs, tiling.c_out) *
                      std::min(tiling.c_units * U::inputs, tiling.c_in) * U::taps;
  const std::int64_t parts = std::min<std::int64_t>(tiled_threads<T> / results, many_slices / slices);
  tiling.lanes_per_part = ceil_div_int(tiling.lanes, std::max<std::int64_t>(parts, 1));
  tiling.parts = ceil_div_int(tiling.lanes, tiling.lanes_per_part);
  return slices;
}

template <class T, int kernel>
void backward_weight_tiled(const Conv2dProblem& p, const T* input, const T* grad_output, T* grad_weight) {
  TiledWork tiling{};
  share_out_channels<T, kernel>(p, tiling);
  cut_images<T, kernel>(p, tiling);
  const std::int64_t slices = share_out_tiles<T, kernel>(tiling);
  choose_vectors(input, tiling.padding_w, tiling.tile_w + kernel - 1, tiling.input);
  choose_vectors(grad_output, 0, tiling.tile_w, tiling.gradient);

  const std::int64_t weights = p.c_out * tiling.c_in * Unit<kernel>::taps;
  sum_in_slices(slices * tiling.parts, weights, grad_weight, [&](T* partial) {
    launch<conv2d_backward_weight_tiled_kernel<T, kernel>>(
        {.blocks = block_count(slices * tiling.blocks_per_slice()),
         .threads = tiled_threads<T>,
         .shared_bytes =
             SharedLayout().array<T>(static_cast<std::size_t>(shared_elements<kernel>(tiling))).bytes()},
        tiling, input, grad_output, partial);
  });
}

// ---- Weight gradient, general ----

constexpr int general_threads = 256;
constexpr int general_outputs = 4;

/// A pixel (n, y, x) of grad_output, or the distance from one to another.
struct Pixel {
  std::int64_t n, y, x;
};

/// The work of the general kernel: a convolution, whose c_in and c_out are the channels of one group.
struct GeneralWork : Conv2dProblem {
  std::int64_t output_h, output_w;
  std::int64_t o_blocks, tap_blocks;      ///< Blocks that share out c_out and k_w.
  std::int64_t pixels, pixels_per_slice;  ///< All pixels (n, y, x) of grad_output in a row.
  Pixel step;                             ///< As many pixels on as a block has threads.

  __host__ __device__ Pixel pixel(std::int64_t index) const {
    return {.n = index / (output_h * output_w), .y = index / output_w % output_h, .x = index % output_w};
  }
};

/// What a block of the general kernel owns: outputs from o, taps (i, j), (i, j + 1), .. of input channel c.
struct Owned {
  std::int64_t o, c, i, j, group, slice;

  __device__ Owned(const GeneralWork& p, std::int64_t block, int taps) {
    j = block % p.tap_blocks * taps, block /= p.tap_blocks;
    i = block % p.k_h, block /= p.k_h;
    c = block % p.c_in, block /= p.c_in;
    o = block % p.o_blocks * general_outputs, block /= p.o_blocks;
    group = block % p.groups, slice = block / p.groups;
  }
};

/// Adds the products of one pixel.
template <class T, int taps>
__device__ void add_pixel(const GeneralWork& p, const Owned& own, const Pixel& at,
                          const T* __restrict__ input, const T* __restrict__ grad_output,
                          T (&sums)[general_outputs][taps]) {
  const std::int64_t y = at.y * p.stride_h - p.padding_h + own.i * p.dilation_h;
  if (y < 0 || y >= p.h) return;
  const T* row = input + (((at.n * p.groups + own.group) * p.c_in + own.c) * p.h + y) * p.w;
  const T* gradient = grad_output +
                      (((at.n * p.groups + own.group) * p.c_out + own.o) * p.output_h + at.y) * p.output_w +
                      at.x;
  T gradients[general_outputs] = {};
#pragma unroll
  for (int o = 0; o < general_outputs; ++o)
    if (own.o + o < p.c_out) gradients[o] = gradient[o * p.output_h * p.output_w];
#pragma unroll
  for (int j = 0; j < taps; ++j) {
    const std::int64_t x = at.x * p.stride_w - p.padding_w + (own.j + j) * p.dilation_w;
    const T value = x >= 0 && x < p.w ? row[x] : T(0);
#pragma unroll
    for (int o = 0; o < general_outputs; ++o) sums[o][j] += gradients[o] * value;
  }
}

/// partial: [slices][groups][c_out][c_in][k_h][k_w].
template <class T, int taps>
__global__ void __launch_bounds__(general_threads)
    conv2d_backward_weight_general_kernel(GeneralWork p, const T* __restrict__ input,
                                          const T* __restrict__ grad_output, T* __restrict__ partial) {
  const Owned own(p, blockIdx.x, taps);
  T sums[general_outputs][taps] = {};
  const std::int64_t end = min((own.slice + 1) * p.pixels_per_slice, p.pixels);
  std::int64_t index = own.slice * p.pixels_per_slice + threadIdx.x;
  for (Pixel at = p.pixel(index); index < end; index += blockDim.x) {
    add_pixel(p, own, at, input, grad_output, sums);
    at.x += p.step.x;
    at.y += p.step.y;
    at.n += p.step.n;
    if (at.x >= p.output_w) at.x -= p.output_w, ++at.y;
    if (at.y >= p.output_h) at.y -= p.output_h, ++at.n;
  }

  constexpr int count = general_outputs * taps;
  const int thread = static_cast<int>(threadIdx.x), warps = static_cast<int>(blockDim.x) / warp_size;
  SharedMemory shared;
  T* of_warps = shared.array<T>(warps * count);
#pragma unroll
  for (int o = 0; o < general_outputs; ++o)
#pragma unroll
    for (int j = 0; j < taps; ++j) {
      const T sum = warp_reduce(sums[o][j], Sum());
      if (thread % warp_size == 0) of_warps[thread / warp_size * count + o * taps + j] = sum;
    }
  // One thread for each result adds up what the warps have written.
  __syncthreads();
  const std::int64_t o = own.o + thread / taps, j = own.j + thread % taps;
  if (thread >= count || o >= p.c_out || j >= p.k_w) return;
  T sum = of_warps[thread];
  for (int warp = 1; warp < warps; ++warp) sum += of_warps[warp * count + thread];
  partial[((((own.slice * p.groups + own.group) * p.c_out + o) * p.c_in + own.c) * p.k_h + own.i) * p.k_w +
          j] = sum;
}

struct Slicing {
  std::int64_t slices, items_per_slice;
};

/// How to slice `items` that the threads of a block take one after the other, when each slice takes `blocks`
/// blocks and an item has `terms` terms.
Slicing slice_items(std::int64_t items, std::int64_t threads, std::int64_t terms, std::int64_t blocks) {
  // No fewer than some items a thread, or the reduction at the end would cost more than the sums.
  constexpr std::int64_t few_terms = 16;
  const std::int64_t least = threads * std::max<std::int64_t>(1, few_terms / terms);
  const std::int64_t most = threads * (max_chain / terms);
  const std::int64_t wanted = ceil_div(items * blocks, enough_blocks);
  const std::int64_t items_per_slice = std::clamp(wanted, least, most);
  return {std::max<std::int64_t>(1, ceil_div(items, items_per_slice)), items_per_slice};
}

template <class T, int taps>
void backward_weight_general(const Conv2dProblem& p, const T* input, const T* grad_output, T* grad_weight) {
  GeneralWork work{p,
                   p.out_h(),
                   p.out_w(),
                   /*o_blocks=*/ceil_div(p.c_out / p.groups, general_outputs),
                   /*tap_blocks=*/ceil_div(p.k_w, taps),
                   /*pixels=*/p.n * p.out_h() * p.out_w(),
                   /*pixels_per_slice=*/0,
                   /*step=*/{}};
  work.c_in /= p.groups;
  work.c_out /= p.groups;
  const std::int64_t blocks = work.groups * work.o_blocks * work.c_in * work.k_h * work.tap_blocks;
  const unsigned threads = threads_for(work.pixels, general_threads);
  const Slicing slicing = slice_items(work.pixels, threads, 1, blocks);
  work.pixels_per_slice = slicing.items_per_slice;
  work.step = work.pixel(threads);
  const std::size_t shared_sums = threads / warp_size * general_outputs * taps;
  sum_in_slices(slicing.slices, p.c_out * work.c_in * p.k_h * p.k_w, grad_weight, [&](T* partial) {
    launch<conv2d_backward_weight_general_kernel<T, taps>>(
        {.blocks = block_count(slicing.slices * blocks),
         .threads = threads,
         .shared_bytes = SharedLayout().array<T>(shared_sums).bytes()},
        work, input, grad_output, partial);
  });
}

// ---- Bias gradient ----

constexpr int bias_threads = 256;

/// Blocks take packs of 16 bytes. partial: [slices][channels].
template <class T>
__global__ void __launch_bounds__(bias_threads)
    conv2d_backward_bias_kernel(std::int64_t channels, std::int64_t plane, std::int64_t packs,
                                std::int64_t packs_per_slice, const T* __restrict__ grad_output,
                                T* __restrict__ partial) {
  const std::int64_t channel = blockIdx.x % channels, slice = blockIdx.x / channels;
  const std::int64_t packs_per_plane = ceil_div(plane, pack_size<T>);
  const std::int64_t image_step = blockDim.x / packs_per_plane, pack_step = blockDim.x % packs_per_plane;
  const std::int64_t end = min((slice + 1) * packs_per_slice, packs);
  std::int64_t index = slice * packs_per_slice + threadIdx.x;
  std::int64_t image = index / packs_per_plane, first = index % packs_per_plane;
  T sum = 0;
  for (; index < end; index += blockDim.x) {
    const Pack<T> pack =
        load_pack(grad_output + (image * channels + channel) * plane, first * pack_size<T>, plane);
    for (const T value : pack.values) sum += value;
    image += image_step;
    first += pack_step;
    if (first >= packs_per_plane) first -= packs_per_plane, ++image;
  }
  SharedMemory shared;
  sum = block_reduce(sum, Sum(), shared.array<T>(reduce_scratch));
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

}  // namespace

template <class T>
void conv2d_backward_weight(const Conv2dProblem& p, const T* input, const T* grad_output, T* grad_weight) {
  if (p.c_in == 0 || p.c_out == 0) return;
  if (tiling_fits(p))
    return p.k_w == 1 ? backward_weight_tiled<T, 1>(p, input, grad_output, grad_weight)
                      : backward_weight_tiled<T, 3>(p, input, grad_output, grad_weight);
  // Three taps at a time are right for rows of 3 and waste little with longer ones.
  if (p.k_w == 1) return backward_weight_general<T, 1>(p, input, grad_output, grad_weight);
  backward_weight_general<T, 3>(p, input, grad_output, grad_weight);
}

template <class T>
void conv2d_backward_bias(const Conv2dProblem& p, const T* grad_output, T* grad_bias) {
  const std::int64_t plane = p.out_h() * p.out_w(), packs = p.n * ceil_div(plane, pack_size<T>);
  const unsigned threads = threads_for(packs, bias_threads);
  const Slicing slicing = slice_items(packs, threads, pack_size<T>, p.c_out);
  sum_in_slices(slicing.slices, p.c_out, grad_bias, [&](T* partial) {
    launch<conv2d_backward_bias_kernel<T>>({.blocks = block_count(slicing.slices * p.c_out),
                                            .threads = threads,
                                            .shared_bytes = SharedLayout().array<T>(reduce_scratch).bytes()},
                                           p.c_out, plane, packs, slicing.items_per_slice, grad_output,
                                           partial);
  });
}

template void conv2d_backward_weight(const Conv2dProblem&, const float*, const float*, float*);
template void conv2d_backward_weight(const Conv2dProblem&, const double*, const double*, double*);
template void conv2d_backward_bias(const Conv2dProblem&, const float*, float*);
template void conv2d_backward_bias(const Conv2dProblem&, const double*, double*);

}  // namespace kg::kernels::cuda
