// SPDX-License-Identifier: MIT
#include "kernels/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernelgrad/device_array.h"
#include "kernels/cuda/dropout.h"
#include "kernels/graph.h"
#include "kernels/table.h"

/// Batch normalisation with its element-wise neighbours. With x = relu_before(input), for each channel
///
///   forward:   y = dropout(relu_after((x - mean) * scale + beta)),  scale = gamma / sqrt(variance + epsilon)
///   backward:  g = grad_output through dropout and relu_after, N = n * plane,
///              grad_beta = sum g,  grad_gamma = sum g * (x - mean) * inv_std,
///              grad_input = scale * (g - grad_beta / N - (x - mean) * inv_std * grad_gamma / N)
///
/// in training; where the statistics are given, the last two terms of grad_input are 0. Backward draws the
/// mask of dropout again and computes the gates of both relus again from the input: nothing but mean and
/// inv_std is kept from forward.
///
/// Layout. The unit of work is a quad: four consecutive elements, the first at a multiple of four in the
/// whole tensor, so that it is a 16-byte access (two of double) and one evaluation of Philox wherever the
/// planes begin. A quad at the edge of a plane belongs to two planes; each takes its own elements of it.
/// A block owns a channel, or a slice of one: consecutive quads of its planes, image by image. A thread has
/// batch_quads of them in registers at a time, blockDim.x apart, so that a warp reads 512 contiguous bytes.
///
/// Passes. Where a channel is short, one block does all of it in one launch. Otherwise there are two: the
/// first leaves each slice's partial sums in scratch memory, and in the second every block adds up those of
/// its channel for itself before it goes on, which saves the launch of a kernel that would do only that; the
/// block of a channel's first slice writes what there is one of for each channel. All sums are formed in an
/// order that depends on the problem alone, so the same input gives the same bits.
///
/// Precision. Forward sums (x - c) and (x - c)^2, where c is the mean of the first values of the slice, as
/// good a centre as the mean itself; slices are combined by Chan, Golub & LeVeque (1979). Neither loses
/// anything where the mean is far from 0. Sums are formed in T within a batch of a thread and across the
/// threads of a block, in double over the batches of a thread and over slices.
///
/// Bytes and FLOPs per element of size b: forward reads the input twice and writes once, 3 b (2 b in
/// inference, and where the block still has the input in registers), for 8 FLOPs; backward reads two arrays
/// twice and writes one, 5 b (3 b), for 9 FLOPs, relus and dropout apart.
namespace kg::kernels::cuda {

namespace {

/// Threads of a block that has a whole channel, at most, and of one that has a slice.
constexpr int max_threads = 512, slice_threads = 256;
/// Quads that a thread holds: so many independent loads are on their way before the first is waited for.
constexpr int batch_quads = 2;
/// The longest channel, in quads, that one block does alone: up to there a second launch would take longer
/// than more blocks would save, by the reckoning in docs/kernels/batch_norm-cuda.md.
constexpr int whole_channel_quads = 4096;
/// Blocks that the slices should make in all, about 4 for each of the 132 processors of an H100: a constant,
/// not the number of this device's, so that every device forms the same sums.
constexpr int slices_wanted = 512;
/// Two quads for each thread, so that a slice is worth its block.
constexpr int min_slice_quads = 2 * slice_threads;

/// How the tensor is shared out among blocks.
struct Layout {
  std::int64_t count;            ///< Elements of the whole tensor.
  std::int64_t channels, plane;  ///< Elements of a plane.
  int plane_quads;    ///< Quads that cover a plane wherever it starts; the last may have none of it.
  int channel_quads;  ///< n * plane_quads.
  int slices;         ///< Of each channel, a block each.
  int slice_quads;    ///< Of each slice but the last, which may be shorter.
};

/// What the block owns: `quads` quads of the channel from number `first` on.
struct Slice {
  int channel, index, first, quads;
};

__device__ Slice slice_of_block(const Layout& layout) {
  const int block = static_cast<int>(blockIdx.x), index = block % layout.slices,
            first = index * layout.slice_quads;
  return {.channel = block / layout.slices,
          .index = index,
          .first = first,
          .quads = min(layout.slice_quads, layout.channel_quads - first)};
}

/// Where a quad lies, and which of its four elements belong to the plane: begin, ..., end - 1.
struct QuadPlace {
  std::int64_t first;
  int begin, end;

  __device__ bool has(int i) const { return begin <= i && i < end; }
  __device__ bool is_full() const { return begin == 0 && end == quad_size; }
};

__device__ QuadPlace place_of(const Layout& layout, int channel, int quad) {
  const int image = quad / layout.plane_quads, column = quad % layout.plane_quads;
  const std::int64_t plane = (std::int64_t{image} * layout.channels + channel) * layout.plane;
  const int lead = static_cast<int>(plane % quad_size);
  const std::int64_t first = plane - lead + std::int64_t{column} * quad_size;
  return {.first = first,
          .begin = column == 0 ? lead : 0,
          .end = static_cast<int>(min(plane + layout.plane - first, std::int64_t{quad_size}))};
}

/// How many elements of the channel come before its quad number `quad`.
__device__ std::int64_t elements_before(const Layout& layout, int channel, int quad) {
  const std::int64_t image = quad / layout.plane_quads;
  const std::int64_t in_plane =
      place_of(layout, channel, quad).first - (image * layout.channels + channel) * layout.plane;
  return image * layout.plane + min(max(in_plane, std::int64_t{0}), layout.plane);
}

__device__ std::int64_t elements_between(const Layout& layout, int channel, int first, int end) {
  return elements_before(layout, channel, end) - elements_before(layout, channel, first);
}

/// The thread's quads among `count` from number `first` of the channel on.
struct Places {
  QuadPlace at[batch_quads];
};

__device__ Places places_of(const Layout& layout, int channel, int first, int count) {
  Places places;
#pragma unroll
  for (int q = 0; q < batch_quads; ++q) {
    const int own = static_cast<int>(threadIdx.x) + q * static_cast<int>(blockDim.x);
    // Nothing of quad 0 for a thread that is left over: it may be loaded like any other.
    places.at[q] = own < count ? place_of(layout, channel, first + own) : QuadPlace{0, 0, 0};
  }
  return places;
}

/// Quads of the whole block at a time.
__device__ int block_quads() { return static_cast<int>(blockDim.x) * batch_quads; }

template <class T>
struct Batch {
  Quad<T> quads[batch_quads];
};

template <class T>
__device__ Batch<T> load_batch(const Layout& layout, const Places& places, const T* array) {
  Batch<T> batch;
#pragma unroll
  for (int q = 0; q < batch_quads; ++q) batch.quads[q] = load_quad(array, places.at[q].first, layout.count);
  return batch;
}

/// Writes the elements that belong to the channel; their neighbours in a quad are another block's.
template <class T>
__device__ void store(const Layout& layout, const QuadPlace& place, const Quad<T>& quad, T* array) {
  if (place.is_full()) {
    store_quad(array, place.first, layout.count, quad);
    return;
  }
  for_quad([&](int i) {
    if (place.has(i)) array[place.first + i] = quad.values[i];
  });
}

/// Calls body(q, i) for the elements of the batch that belong to the channel.
template <class Body>
__device__ void for_elements(const Places& places, const Body& body) {
#pragma unroll
  for (int q = 0; q < batch_quads; ++q)
    for_quad([&](int i) {
      if (places.at[q].has(i)) body(q, i);
    });
}

/// The element-wise operations around the normalisation.
template <class T>
struct Neighbours {
  bool relu_before, relu_after;
  DropoutMask<T> dropout;
};

/// max(x, 0), written so that NaN, which is not below 0, passes.
template <class T>
__device__ T relu_if(bool on, T x) {
  return on && x < T(0) ? T(0) : x;
}

/// relu_before(input).
template <class T>
__device__ Batch<T> load_input(const Layout& layout, const Neighbours<T>& neighbours, const Places& places,
                               const T* input) {
  Batch<T> batch = load_batch(layout, places, input);
#pragma unroll
  for (Quad<T>& quad : batch.quads)
#pragma unroll
    for (T& value : quad.values) value = relu_if(neighbours.relu_before, value);
  return batch;
}

/// A channel's constants. Forward and backward must agree on the output's sign: both call normalized().
template <class T>
struct Channel {
  T mean, inv_std, scale, beta;

  __device__ T normalized(T x) const { return std::fma(x - mean, scale, beta); }
};

template <class T>
__device__ Channel<T> channel_of(const T* gamma, const T* beta, int channel, T mean, T inv_std) {
  return {.mean = mean,
          .inv_std = inv_std,
          .scale = (gamma ? gamma[channel] : T(1)) * inv_std,
          .beta = beta ? beta[channel] : T(0)};
}

/// Mean, and sum of squared deviations from it.
struct Moments {
  double mean, squares;
};

/// Those of one slice, and how many values they are of.
struct SliceMoments {
  double count;
  Moments moments;
};

/// The moments of the block's slice; every thread gets them. `places` and `batch` are the thread's first.
template <class T>
__device__ SliceMoments slice_moments(const Layout& layout, const Neighbours<T>& neighbours,
                                      const Slice& slice, const T* input, Places places, Batch<T> batch,
                                      T* scratch) {
  // A slice can be a single quad that has nothing of the plane: then this is 0, and so is the sum.
  const std::int64_t first_count =
      elements_between(layout, slice.channel, slice.first, slice.first + min(block_quads(), slice.quads));
  T sum = 0;
  for_elements(places, [&](int q, int i) { sum += batch.quads[q].values[i]; });
  const T center = block_reduce(sum, Sum(), scratch) / static_cast<T>(max(first_count, std::int64_t{1}));

  double deviations = 0, squares = 0;
  for (int first = slice.first, left = slice.quads;;) {
    T batch_deviations = 0, batch_squares = 0;
    for_elements(places, [&](int q, int i) {
      const T deviation = batch.quads[q].values[i] - center;
      batch_deviations += deviation;
      batch_squares += deviation * deviation;
    });
    deviations += static_cast<double>(batch_deviations);
    squares += static_cast<double>(batch_squares);
    first += block_quads();
    left -= block_quads();
    if (left <= 0) break;
    places = places_of(layout, slice.channel, first, left);
    batch = load_input(layout, neighbours, places, input);
  }
  const double all_deviations = static_cast<double>(block_reduce(static_cast<T>(deviations), Sum(), scratch));
  const double all_squares = static_cast<double>(block_reduce(static_cast<T>(squares), Sum(), scratch));
  const double count =
      static_cast<double>(elements_between(layout, slice.channel, slice.first, slice.first + slice.quads));
  const double shift = all_deviations / Max()(count, 1.0);
  return {.count = count,
          .moments = {.mean = static_cast<double>(center) + shift,
                      // Where all values are equal, rounding could make the difference negative.
                      .squares = Max()(all_squares - all_deviations * shift, 0.0)}};
}

/// The moments of a channel of 1 / share values from those of its slices. To be called by one full warp;
/// every lane gets them.
__device__ Moments combined_moments(const SliceMoments* partials, int slices, double share) {
  double sum = 0, squares = 0;
  for (int s = static_cast<int>(threadIdx.x); s < slices; s += warp_size)
    sum += partials[s].count * partials[s].moments.mean;
  const double mean = warp_reduce(sum, Sum()) * share;
  for (int s = static_cast<int>(threadIdx.x); s < slices; s += warp_size) {
    const double shift = partials[s].moments.mean - mean;
    squares += partials[s].moments.squares + partials[s].count * shift * shift;
  }
  return {.mean = mean, .squares = warp_reduce(squares, Sum())};
}

/// What the kernels of training take besides the layout and the neighbours.
template <class T>
struct Forward {
  const T *input, *gamma, *beta;
  const SliceMoments* partials;  ///< Of every slice, if there are several.
  double share, unbiased_share;  ///< 1 / N and 1 / (N - 1), where N = n * plane.
  double momentum, epsilon;
  T *running_mean, *running_var;
  std::int64_t* num_batches_tracked;
  T *mean, *inv_std, *output;
};

template <class T>
__device__ T inv_std_of(double variance, double epsilon) {
  return T(1) / std::sqrt(static_cast<T>(variance + epsilon));
}

/// By one thread for each channel: what backward and inference will need.
template <class T>
__device__ void write_statistics(const Forward<T>& f, int channel, const Moments& moments,
                                 const Channel<T>& constants) {
  f.mean[channel] = constants.mean;
  f.inv_std[channel] = constants.inv_std;
  if (f.num_batches_tracked && channel == 0) ++*f.num_batches_tracked;
  if (!f.running_mean) return;
  const auto move = [&f](T& running, double batch) {
    running = static_cast<T>((1 - f.momentum) * static_cast<double>(running) + f.momentum * batch);
  };
  move(f.running_mean[channel], moments.mean);
  move(f.running_var[channel], moments.squares * f.unbiased_share);
}

/// Writes the block's slice of the output. `places` and `batch` are the thread's first.
template <class T>
__device__ void normalize(const Layout& layout, const Neighbours<T>& neighbours, const Slice& slice,
                          const Channel<T>& channel, const T* input, T* output, Places places,
                          Batch<T> batch) {
  const std::uint32_t draw = neighbours.dropout.draw();
  for (int first = slice.first, left = slice.quads;;) {
#pragma unroll
    for (int q = 0; q < batch_quads; ++q) {
      Quad<T>& quad = batch.quads[q];
#pragma unroll
      for (T& value : quad.values) value = relu_if(neighbours.relu_after, channel.normalized(value));
      if (neighbours.dropout.enabled) neighbours.dropout.apply(draw, places.at[q].first, quad);
      store(layout, places.at[q], quad, output);
    }
    first += block_quads();
    left -= block_quads();
    if (left <= 0) break;
    places = places_of(layout, slice.channel, first, left);
    batch = load_input(layout, neighbours, places, input);
  }
}

/// First of two passes of training: the moments of every slice.
template <class T>
__global__ void __launch_bounds__(slice_threads)
    batch_norm_moments_kernel(Layout layout, Neighbours<T> neighbours, const T* input,
                              SliceMoments* partials) {
  SharedMemory shared;
  T* scratch = shared.array<T>(reduce_scratch);
  const Slice slice = slice_of_block(layout);
  const Places places = places_of(layout, slice.channel, slice.first, slice.quads);
  const Batch<T> batch = load_input(layout, neighbours, places, input);
  const SliceMoments moments = slice_moments(layout, neighbours, slice, input, places, batch, scratch);
  if (threadIdx.x == 0) partials[blockIdx.x] = moments;
}

/// Second pass of training, or the only one where a block has a whole channel.
template <class T, bool whole>
__global__ void __launch_bounds__(whole ? max_threads : slice_threads)
    batch_norm_training_kernel(Layout layout, Neighbours<T> neighbours, Forward<T> f) {
  SharedMemory shared;
  T* scratch = shared.array<T>(reduce_scratch);
  Channel<T>* constants = shared.array<Channel<T>>(1);
  const Slice slice = slice_of_block(layout);
  const Places places = places_of(layout, slice.channel, slice.first, slice.quads);
  // Before the statistics: these loads and those of the partial moments are on their way together.
  const Batch<T> batch = load_input(layout, neighbours, places, f.input);
  Moments moments;
  if constexpr (whole)
    moments = slice_moments(layout, neighbours, slice, f.input, places, batch, scratch).moments;
  // One warp for all: double precision is slow on most devices.
  if (threadIdx.x / warp_size == 0) {
    if constexpr (!whole)
      moments =
          combined_moments(f.partials + std::int64_t{slice.channel} * layout.slices, layout.slices, f.share);
    if (threadIdx.x == 0) {
      *constants = channel_of(f.gamma, f.beta, slice.channel, static_cast<T>(moments.mean),
                              inv_std_of<T>(moments.squares * f.share, f.epsilon));
      if (slice.index == 0) write_statistics(f, slice.channel, moments, *constants);
    }
  }
  // The channel's constants must be written before anyone reads them.
  __syncthreads();
  normalize(layout, neighbours, slice, *constants, f.input, f.output, places, batch);
}

template <class T>
struct Inference {
  const T *input, *gamma, *beta, *mean, *var;
  T epsilon;
  T *inv_std, *output;
};

template <class T>
__global__ void __launch_bounds__(max_threads)
    batch_norm_inference_kernel(Layout layout, Neighbours<T> neighbours, Inference<T> f) {
  const Slice slice = slice_of_block(layout);
  const Places places = places_of(layout, slice.channel, slice.first, slice.quads);
  const Batch<T> batch = load_input(layout, neighbours, places, f.input);
  const T inv_std = T(1) / std::sqrt(f.var[slice.channel] + f.epsilon);
  if (slice.index == 0 && threadIdx.x == 0) f.inv_std[slice.channel] = inv_std;
  const Channel<T> channel = channel_of(f.gamma, f.beta, slice.channel, f.mean[slice.channel], inv_std);
  normalize(layout, neighbours, slice, channel, f.input, f.output, places, batch);
}

/// Of g, the gradient behind dropout and relu_after: its sum, and that of its products with x - mean.
struct GradientSums {
  double plain, centered;
};

/// What the backward kernels take besides the layout and the neighbours.
template <class T>
struct Backward {
  const T *input, *grad_output, *gamma, *beta, *mean, *inv_std;
  const GradientSums* partials;  ///< Of every slice; null where a block has a whole channel, or needs none.
  double share;                  ///< 1 / N if the statistics depend on the input, otherwise 0.
  T *grad_input, *grad_gamma, *grad_beta;

  __device__ Channel<T> channel(int c) const { return channel_of(gamma, beta, c, mean[c], inv_std[c]); }
};

/// x and g of the thread's quads.
template <class T>
struct BackwardBatch {
  Batch<T> x, g;
};

template <class T>
__device__ BackwardBatch<T> load_backward(const Layout& layout, const Neighbours<T>& neighbours,
                                          const Backward<T>& b, const Channel<T>& channel,
                                          const Places& places, std::uint32_t draw) {
  BackwardBatch<T> batch{.x = load_input(layout, neighbours, places, b.input),
                         .g = load_batch(layout, places, b.grad_output)};
#pragma unroll
  for (int q = 0; q < batch_quads; ++q) {
    Quad<T>& g = batch.g.quads[q];
    if (neighbours.dropout.enabled) neighbours.dropout.apply(draw, places.at[q].first, g);
    if (!neighbours.relu_after) continue;
#pragma unroll
    for (int i = 0; i < quad_size; ++i)
      if (channel.normalized(batch.x.quads[q].values[i]) <= T(0)) g.values[i] = T(0);
  }
  return batch;
}

/// The sums over the block's slice; every thread gets them. `places` and `batch` are the thread's first.
template <class T>
__device__ GradientSums slice_sums(const Layout& layout, const Neighbours<T>& neighbours, const Slice& slice,
                                   const Backward<T>& b, const Channel<T>& channel, Places places,
                                   BackwardBatch<T> batch, std::uint32_t draw, T* scratch) {
  GradientSums sums{0, 0};
  for (int first = slice.first, left = slice.quads;;) {
    T plain = 0, centered = 0;
    for_elements(places, [&](int q, int i) {
      const T g = batch.g.quads[q].values[i];
      plain += g;
      centered += g * (batch.x.quads[q].values[i] - channel.mean);
    });
    sums.plain += static_cast<double>(plain);
    sums.centered += static_cast<double>(centered);
    first += block_quads();
    left -= block_quads();
    if (left <= 0) break;
    places = places_of(layout, slice.channel, first, left);
    batch = load_backward(layout, neighbours, b, channel, places, draw);
  }
  return {.plain = static_cast<double>(block_reduce(static_cast<T>(sums.plain), Sum(), scratch)),
          .centered = static_cast<double>(block_reduce(static_cast<T>(sums.centered), Sum(), scratch))};
}

/// To be called by one full warp; every lane gets the sums.
__device__ GradientSums combined_sums(const GradientSums* partials, int slices) {
  GradientSums sums{0, 0};
  for (int s = static_cast<int>(threadIdx.x); s < slices; s += warp_size) {
    sums.plain += partials[s].plain;
    sums.centered += partials[s].centered;
  }
  return {.plain = warp_reduce(sums.plain, Sum()), .centered = warp_reduce(sums.centered, Sum())};
}

/// First of two passes of backward: the sums of every slice.
template <class T>
__global__ void __launch_bounds__(slice_threads)
    batch_norm_gradient_sums_kernel(Layout layout, Neighbours<T> neighbours, Backward<T> b,
                                    GradientSums* partials) {
  SharedMemory shared;
  T* scratch = shared.array<T>(reduce_scratch);
  const Slice slice = slice_of_block(layout);
  const Places places = places_of(layout, slice.channel, slice.first, slice.quads);
  const Channel<T> channel = b.channel(slice.channel);
  const std::uint32_t draw = neighbours.dropout.draw();
  const BackwardBatch<T> batch = load_backward(layout, neighbours, b, channel, places, draw);
  const GradientSums sums = slice_sums(layout, neighbours, slice, b, channel, places, batch, draw, scratch);
  if (threadIdx.x == 0) partials[blockIdx.x] = sums;
}

/// The part of grad_input that is the same for all of a channel: scale * (g - plain - (x - mean) * slope).
template <class T>
struct Correction {
  T plain, slope;
};

/// Second pass of backward, or the only one where a block has a whole channel.
template <class T, bool whole>
__global__ void __launch_bounds__(whole ? max_threads : slice_threads)
    batch_norm_backward_kernel(Layout layout, Neighbours<T> neighbours, Backward<T> b) {
  SharedMemory shared;
  T* scratch = shared.array<T>(reduce_scratch);
  Correction<T>* correction = shared.array<Correction<T>>(1);
  const Slice slice = slice_of_block(layout);
  Places places = places_of(layout, slice.channel, slice.first, slice.quads);
  const Channel<T> channel = b.channel(slice.channel);
  const std::uint32_t draw = neighbours.dropout.draw();
  // Before the sums: these loads and those of the partial sums are on their way together.
  BackwardBatch<T> batch = load_backward(layout, neighbours, b, channel, places, draw);
  GradientSums sums{0, 0};
  if constexpr (whole) sums = slice_sums(layout, neighbours, slice, b, channel, places, batch, draw, scratch);
  // One warp for all: double precision is slow on most devices.
  if (threadIdx.x / warp_size == 0) {
    if (!whole && b.partials)
      sums = combined_sums(b.partials + std::int64_t{slice.channel} * layout.slices, layout.slices);
    const double inv_std = static_cast<double>(channel.inv_std);
    if (threadIdx.x == 0) {
      const bool depend = b.share > 0;
      *correction = {.plain = depend ? static_cast<T>(sums.plain * b.share) : T(0),
                     .slope = depend ? static_cast<T>(sums.centered * inv_std * inv_std * b.share) : T(0)};
      if (b.grad_gamma && slice.index == 0) {
        b.grad_gamma[slice.channel] = static_cast<T>(sums.centered * inv_std);
        b.grad_beta[slice.channel] = static_cast<T>(sums.plain);
      }
    }
  }
  if (!b.grad_input) return;
  // The correction must be written before anyone reads it.
  __syncthreads();
  const T plain = correction->plain, slope = correction->slope;
  for (int first = slice.first, left = slice.quads;;) {
#pragma unroll
    for (int q = 0; q < batch_quads; ++q) {
      Quad<T> result;
#pragma unroll
      for (int i = 0; i < quad_size; ++i) {
        const T x = batch.x.quads[q].values[i], g = batch.g.quads[q].values[i];
        const T value = channel.scale * (g - plain - (x - channel.mean) * slope);
        // x is above 0, or NaN, where the input is.
        result.values[i] = neighbours.relu_before && x <= T(0) ? T(0) : value;
      }
      store(layout, places.at[q], result, b.grad_input);
    }
    first += block_quads();
    left -= block_quads();
    if (left <= 0) break;
    places = places_of(layout, slice.channel, first, left);
    batch = load_backward(layout, neighbours, b, channel, places, draw);
  }
}

/// How far behind a multiple of four planes of that length can begin.
std::int64_t largest_lead(std::int64_t plane) { return plane % 4 == 0 ? 0 : plane % 2 == 0 ? 2 : 3; }

Layout layout_of(const BatchNormProblem& p) {
  const std::int64_t plane_quads = p.plane == 0 ? 0 : ceil_div(p.plane + largest_lead(p.plane), quad_size);
  const std::int64_t channel_quads = p.n * plane_quads;
  // Kernels count the quads of a channel in 32 bits, and step beyond the last by a block's worth.
  if (channel_quads > std::int64_t{1} << 30)
    throw Unsupported("cuda: batch_norm: " + std::to_string(p.n * p.plane) +
                      " values of a channel are too many");
  const std::int64_t fair_share = ceil_div(p.channels * channel_quads, slices_wanted);
  const std::int64_t slice_quads =
      channel_quads <= whole_channel_quads
          ? channel_quads
          : ceil_div(std::max<std::int64_t>(fair_share, min_slice_quads), slice_threads) * slice_threads;
  return {.count = p.n * p.channels * p.plane,
          .channels = p.channels,
          .plane = p.plane,
          .plane_quads = static_cast<int>(plane_quads),
          .channel_quads = static_cast<int>(channel_quads),
          .slices = slice_quads == 0 ? 1 : static_cast<int>(ceil_div(channel_quads, slice_quads)),
          .slice_quads = static_cast<int>(slice_quads)};
}

/// A block for each slice.
template <class T, class Constants = T>
Grid slice_grid(const Layout& layout, std::source_location where = std::source_location::current()) {
  // A short channel gets as many threads as it has quads, so that each has at most a few.
  const int warps = static_cast<int>(ceil_div(layout.slice_quads, warp_size));
  const int most = layout.slices > 1 ? slice_threads : max_threads;
  return {.blocks = block_count(layout.channels * layout.slices),
          .threads = static_cast<unsigned>(std::clamp(warps * warp_size, warp_size, most)),
          .shared_bytes = SharedLayout().array<T>(reduce_scratch).template array<Constants>(1).bytes(),
          .where = where};
}

template <class T>
Neighbours<T> neighbours_of(const BatchNormProblem& p) {
  return {.relu_before = p.relu_before, .relu_after = p.relu_after, .dropout = DropoutMask<T>(p.dropout)};
}

template <class T>
void forward_training(const BatchNormProblem& p, const T* input, const T* gamma, const T* beta,
                      double momentum, T* running_mean, T* running_var, std::int64_t* num_batches_tracked,
                      T* mean, T* inv_std, T* output) {
  // Without channels there is no block that could count the batch.
  if (p.channels == 0 && num_batches_tracked)
    advance_counter(reinterpret_cast<std::uint64_t*>(num_batches_tracked), 1);
  const Layout layout = layout_of(p);
  const Neighbours<T> neighbours = neighbours_of<T>(p);
  const double count = static_cast<double>(p.n * p.plane);
  Forward<T> arguments{.input = input,
                       .gamma = gamma,
                       .beta = beta,
                       .partials = nullptr,
                       .share = 1 / count,
                       .unbiased_share = 1 / (count - 1),
                       .momentum = momentum,
                       .epsilon = p.epsilon,
                       .running_mean = running_mean,
                       .running_var = running_var,
                       .num_batches_tracked = num_batches_tracked,
                       .mean = mean,
                       .inv_std = inv_std,
                       .output = output};
  if (layout.slices == 1) {
    launch<batch_norm_training_kernel<T, true>>(slice_grid<T, Channel<T>>(layout), layout, neighbours,
                                                arguments);
    return;
  }
  DeviceArray<SliceMoments> partials(layout.channels * layout.slices);
  launch<batch_norm_moments_kernel<T>>(slice_grid<T>(layout), layout, neighbours, input, partials.data());
  arguments.partials = partials.data();
  launch<batch_norm_training_kernel<T, false>>(slice_grid<T, Channel<T>>(layout), layout, neighbours,
                                               arguments);
}

template <class T>
void forward_inference(const BatchNormProblem& p, const T* input, const T* gamma, const T* beta,
                       const T* mean, const T* var, T* inv_std, T* output) {
  const Layout layout = layout_of(p);
  launch<batch_norm_inference_kernel<T>>(slice_grid<T>(layout), layout, neighbours_of<T>(p),
                                         Inference<T>{.input = input,
                                                      .gamma = gamma,
                                                      .beta = beta,
                                                      .mean = mean,
                                                      .var = var,
                                                      .epsilon = static_cast<T>(p.epsilon),
                                                      .inv_std = inv_std,
                                                      .output = output});
}

template <class T>
void backward(const BatchNormProblem& p, bool batch_statistics, const T* input, const T* grad_output,
              const T* gamma, const T* beta, const T* mean, const T* inv_std, T* grad_input, T* grad_gamma,
              T* grad_beta) {
  const Layout layout = layout_of(p);
  const Neighbours<T> neighbours = neighbours_of<T>(p);
  Backward<T> arguments{.input = input,
                        .grad_output = grad_output,
                        .gamma = gamma,
                        .beta = beta,
                        .mean = mean,
                        .inv_std = inv_std,
                        .partials = nullptr,
                        .share = batch_statistics ? 1 / static_cast<double>(p.n * p.plane) : 0,
                        .grad_input = grad_input,
                        .grad_gamma = grad_gamma,
                        .grad_beta = grad_beta};
  const Grid grid = slice_grid<T, Correction<T>>(layout);
  if (layout.slices == 1) {
    launch<batch_norm_backward_kernel<T, true>>(grid, layout, neighbours, arguments);
    return;
  }
  const bool summed = batch_statistics || grad_gamma;
  DeviceArray<GradientSums> partials(summed ? layout.channels * layout.slices : 0);
  if (summed) {
    launch<batch_norm_gradient_sums_kernel<T>>(slice_grid<T>(layout), layout, neighbours, arguments,
                                               partials.data());
    arguments.partials = partials.data();
  }
  launch<batch_norm_backward_kernel<T, false>>(grid, layout, neighbours, arguments);
}

template <class T>
constexpr BatchNormKernels<T> batch_norm{plain<forward_training<T>>, plain<forward_inference<T>>,
                                         plain<backward<T>>};

}  // namespace

template <>
Tables<BatchNormKernels> tables() {
  return {&batch_norm<float>, &batch_norm<double>};
}

}  // namespace kg::kernels::cuda
