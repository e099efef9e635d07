// SPDX-License-Identifier: MIT
#include "cuda/kernels.h"
#include "kernelgrad/cuda/launch.h"
#include "kernelgrad/cuda/reduce.h"
#include "kernelgrad/cuda/shared_memory.h"
#include "kernelgrad/host_device.h"

/// A batch of training images in one launch: gathered from the data set, transformed, normalised.
///
/// A block owns a channel of an image. It takes its bytes into shared memory, carries out its operations
/// there one after another, and writes what the network sees of each value. Pixel p belongs to thread p mod
/// block_size from beginning to end, whatever size the image has by then, so that only what reads other
/// threads' pixels needs a barrier: whatever moves pixels, and the mean grey of a blend.
///
/// The numbers of the operations come from the CPU, which draws them once an epoch: sines and cosines may
/// differ in the last bit between CPU and GPU, and a last bit can move a pixel. What is left are integers,
/// and sums, products and quotients of floating-point numbers in the order of the CPU, without fusing: the
/// pixels are those of the CPU. So are the network's inputs, which are looked up in a table of 256 that the
/// CPU computed.
///
/// Of a 28x28 image 784 bytes are read and 3,136 written, and 64 bytes for each operation. The arithmetic, a
/// few integer operations a pixel and operation, is nothing beside that.
namespace mnist::cuda {

namespace {

using kg::cuda::block_reduce;
using kg::cuda::launch;
using kg::cuda::reduce_scratch;
using kg::cuda::SharedLayout;
using kg::cuda::SharedMemory;
using kg::cuda::Sum;
using kg::unfused::product;
using kg::unfused::sum;

/// 784 pixels are four rounds for each thread.
constexpr int block_size = 256;

/// True for the positions of `size` pixels in 16.16 fixed point; negative ones are large when unsigned.
__device__ bool is_inside(std::int64_t position, int size) {
  return static_cast<std::uint64_t>(position) < static_cast<std::uint64_t>(size) << 16;
}
__device__ bool is_inside(double position, int size) { return position >= 0 && position < size; }
__device__ int pixel_at(std::int64_t position) { return static_cast<int>(position >> 16); }
__device__ int pixel_at(double position) { return static_cast<int>(position); }

/// True for the numbers of `size` pixels; negative ones are large when unsigned.
__device__ bool is_pixel(int number, int size) {
  return static_cast<unsigned>(number) < static_cast<unsigned>(size);
}

/// An image in shared memory, and room for another one.
struct Picture {
  std::uint8_t* pixels;
  std::uint8_t* other;
  int height, width;

  __device__ int count() const { return height * width; }
  /// What was written to `other` becomes the picture.
  __device__ void become_other() {
    std::uint8_t* const old = pixels;
    pixels = other;
    other = old;
  }
};

/// The pixel that the position lies in, `fill` outside.
template <class Coordinate>
__device__ std::uint8_t sample(const Picture& picture, Coordinate x, Coordinate y, int fill) {
  const bool inside = is_inside(x, picture.width) && is_inside(y, picture.height);
  return inside ? picture.pixels[pixel_at(y) * picture.width + pixel_at(x)] : static_cast<std::uint8_t>(fill);
}

/// Integers add up to the same in any order, so that every thread finds its pixels' positions at once.
__device__ void warp_fixed(Picture& picture, const PixelOp& op) {
  const Walk<std::int64_t> walk = op.fixed_walk;
  for (int p = static_cast<int>(threadIdx.x); p < picture.count(); p += block_size) {
    const int row = p / picture.width, column = p - row * picture.width;
    picture.other[p] = sample(picture, walk.x + row * walk.x_down + column * walk.x_right,
                              walk.y + row * walk.y_down + column * walk.y_right, op.fill);
  }
  picture.become_other();
}

/// Doubles do not: a thread walks along a row, adding step to step as the CPU does.
__device__ void warp_precise(Picture& picture, const PixelOp& op) {
  const Walk<double> walk = op.precise_walk;
  for (int row = static_cast<int>(threadIdx.x); row < picture.height; row += block_size) {
    double x = walk.x, y = walk.y;
    for (int i = 0; i < row; ++i) {
      x += walk.x_down;
      y += walk.y_down;
    }
    for (int column = 0; column < picture.width; ++column) {
      picture.other[row * picture.width + column] = sample(picture, x, y, op.fill);
      x += walk.x_right;
      y += walk.y_right;
    }
  }
  // The pixels go back to their owners.
  __syncthreads();
  picture.become_other();
}

/// The value at (x, y), which is inside, between the centres of the four pixels around it.
__device__ std::uint8_t blend_neighbours(const Picture& picture, double x, double y) {
  x = sum(x, -0.5);
  y = sum(y, -0.5);
  const int left = static_cast<int>(floor(x)), top = static_cast<int>(floor(y));
  const int x0 = max(left, 0), x1 = min(left + 1, picture.width - 1);
  const auto between = [](double from, double to, double part) {
    return sum(from, product(sum(to, -from), part));
  };
  const auto in_row = [&](int row) {
    const std::uint8_t* const pixels = picture.pixels + row * picture.width;
    return between(pixels[x0], pixels[x1], sum(x, -left));
  };
  const double above = in_row(max(top, 0)), below = in_row(min(top + 1, picture.height - 1));
  return static_cast<std::uint8_t>(between(above, below, sum(y, -top)));
}

/// Every position from the pixel's own numbers, as on the CPU: no walk.
__device__ void warp_bilinear(Picture& picture, const PixelOp& op) {
  const SourceMap map = op.source_map;
  for (int p = static_cast<int>(threadIdx.x); p < picture.count(); p += block_size) {
    const int row = p / picture.width, column = p - row * picture.width;
    const auto position = [&](double by_column, double by_row, double start) {
      return sum(sum(product(by_column, column + 0.5), product(by_row, row + 0.5)), start);
    };
    const double x = position(map.xx, map.xy, map.x0), y = position(map.yx, map.yy, map.y0);
    const bool inside = is_inside(x, picture.width) && is_inside(y, picture.height);
    picture.other[p] = inside ? blend_neighbours(picture, x, y) : static_cast<std::uint8_t>(op.fill);
  }
  picture.become_other();
}

/// The region, black where it reaches beyond the picture.
__device__ void crop(Picture& picture, const Region& region) {
  for (int p = static_cast<int>(threadIdx.x); p < region.height * region.width; p += block_size) {
    const int row = p / region.width, column = p - row * region.width;
    const int y = region.top + row, x = region.left + column;
    const bool inside = is_pixel(y, picture.height) && is_pixel(x, picture.width);
    picture.other[p] = inside ? picture.pixels[y * picture.width + x] : std::uint8_t{0};
  }
  picture.height = region.height;
  picture.width = region.width;
  picture.become_other();
}

/// What output pixel `position` of `to` is made of along an axis of `from` pixels: the first source, then
/// `count` weights in 1/2^22. PIL's triangle filter, in doubles and in the order of the CPU.
__device__ void compute_taps(int from, int to, int position, int count, std::int32_t* taps) {
  const double scale = static_cast<double>(from) / to;
  const double support = scale > 1 ? scale : 1;
  const double center = product(position + 0.5, scale);
  const int first = max(min(static_cast<int>(sum(center - support, 0.5)), from - count), 0);
  const auto filter = [&](int tap) {
    const double distance = fabs(product(sum(first + tap - center, 0.5), 1 / support));
    return fmax(sum(1, -distance), 0.0);
  };
  double total = 0;
  for (int tap = 0; tap < count; ++tap) total += filter(tap);
  taps[0] = first;
  for (int tap = 0; tap < count; ++tap)
    taps[1 + tap] = static_cast<std::int32_t>(sum(0.5, product(filter(tap) / total, 1 << 22)));
}

/// The weighted mean of pixels that lie `stride` apart from the first tap on, rounded.
__device__ std::uint8_t weighted_mean(const std::uint8_t* pixels, int stride, const std::int32_t* taps,
                                      int count) {
  std::int32_t total = 1 << 21;
  for (int tap = 0; tap < count; ++tap) total += pixels[(taps[0] + tap) * stride] * taps[1 + tap];
  return static_cast<std::uint8_t>(total >> 22);
}

/// First the columns, then the rows. `taps` is room for what both are made of.
__device__ void resize(Picture& picture, const Resampling& to, std::int32_t* taps) {
  std::int32_t* const row_taps = taps + to.width * (1 + to.column_taps);
  for (int i = static_cast<int>(threadIdx.x); i < to.width + to.height; i += block_size) {
    const int row = i - to.width;
    if (row < 0)
      compute_taps(to.from.width, to.width, i, to.column_taps, taps + i * (1 + to.column_taps));
    else
      compute_taps(to.from.height, to.height, row, to.row_taps, row_taps + row * (1 + to.row_taps));
  }
  __syncthreads();
  const std::uint8_t* const corner = picture.pixels + to.from.top * picture.width + to.from.left;
  for (int p = static_cast<int>(threadIdx.x); p < to.from.height * to.width; p += block_size) {
    const int row = p / to.width, column = p - row * to.width;
    picture.other[p] =
        weighted_mean(corner + row * picture.width, 1, taps + column * (1 + to.column_taps), to.column_taps);
  }
  __syncthreads();
  for (int p = static_cast<int>(threadIdx.x); p < to.height * to.width; p += block_size) {
    const int row = p / to.width, column = p - row * to.width;
    picture.pixels[p] =
        weighted_mean(picture.other + column, to.width, row_taps + row * (1 + to.row_taps), to.row_taps);
  }
  picture.height = to.height;
  picture.width = to.width;
}

/// The mean, rounded half up.
__device__ int mean_grey(const Picture& picture, int* scratch) {
  int total = 0;
  for (int p = static_cast<int>(threadIdx.x); p < picture.count(); p += block_size)
    total += picture.pixels[p];
  total = block_reduce(total, Sum{}, scratch);
  return static_cast<int>(static_cast<double>(total) / static_cast<double>(picture.count()) + 0.5);
}

/// Between `grey` (factor 0) and the image (factor 1) or beyond, cut off to what a byte holds.
__device__ void blend(const Picture& picture, int grey, float factor) {
  for (int p = static_cast<int>(threadIdx.x); p < picture.count(); p += block_size) {
    std::uint8_t& pixel = picture.pixels[p];
    const float blended = sum(static_cast<float>(grey), product(factor, static_cast<float>(pixel - grey)));
    // NaN becomes black, as on the CPU.
    pixel = static_cast<std::uint8_t>(fminf(fmaxf(blended, 0.0f), 255.0f));
  }
}

/// The pixel in which a position from -1 to 1 lies, halfway between two the even one.
__device__ int pixel_at(float position, int size) {
  return static_cast<int>(rintf(sum(product(sum(position, 1.0f), static_cast<float>(size) / 2), -0.5f)));
}

/// What the network sees of the picture, turned: `fill`, which is no grey, where that comes from outside.
__device__ void write_rotated(const Picture& picture, const PixelOp& op, const float* levels, float* out) {
  const CentredMap map = op.centred_map;
  for (int p = static_cast<int>(threadIdx.x); p < picture.count(); p += block_size) {
    const int i = p / picture.width, j = p - i * picture.width;
    const float row = static_cast<float>(i) - static_cast<float>(picture.height - 1) / 2;
    const float column = static_cast<float>(j) - static_cast<float>(picture.width - 1) / 2;
    const int x = pixel_at(sum(product(column, map.xx), product(row, map.xy)), picture.width);
    const int y = pixel_at(sum(product(column, map.yx), product(row, map.yy)), picture.height);
    const bool inside = is_pixel(x, picture.width) && is_pixel(y, picture.height);
    out[p] = inside ? levels[picture.pixels[y * picture.width + x]] : static_cast<float>(op.fill);
  }
}

/// What the network sees of the picture.
__device__ void write(const Picture& picture, const float* levels, float* out) {
  for (int p = static_cast<int>(threadIdx.x); p < picture.count(); p += block_size)
    out[p] = levels[picture.pixels[p]];
}

__global__ void __launch_bounds__(block_size)
    augment_batch_kernel(const AugmentSource source, const std::int64_t* batch, float* images,
                         std::int64_t* labels) {
  SharedMemory shared;
  std::uint8_t* const room = shared.array<std::uint8_t>(source.workspace.pixels);
  std::uint8_t* const other_room = shared.array<std::uint8_t>(source.workspace.pixels);
  std::int32_t* const taps = shared.array<std::int32_t>(source.workspace.tap_integers);
  int* const scratch = shared.array<int>(reduce_scratch);

  const std::int64_t place = *batch * source.batch_size + blockIdx.x;
  const std::int64_t number = source.order[place];
  const int channel = static_cast<int>(blockIdx.y);
  Picture picture{room, other_room, source.height, source.width};
  for (int p = static_cast<int>(threadIdx.x); p < picture.count(); p += block_size)
    picture.pixels[p] = source.images[(number * source.channels + channel) * picture.count() + p];

  const float* const levels = source.levels + 256 * channel;
  float* const out = images + (std::int64_t{blockIdx.x} * source.channels + channel) * source.output_pixels;
  bool written = false;
  for (int i = 0; i < source.ops_per_image; ++i) {
    const PixelOp& op = source.ops[place * source.ops_per_image + i];
    if (op.kind == PixelOp::Kind::keep) continue;
    if (op.kind == PixelOp::Kind::blend_black) {
      blend(picture, 0, op.factor);
      continue;
    }
    if (op.kind == PixelOp::Kind::blend_mean) {
      blend(picture, mean_grey(picture, scratch), op.factor);
      continue;
    }
    // The others read everybody's pixels, and overwrite those of `other`, or the taps, that the one before
    // them read.
    __syncthreads();
    if (op.kind == PixelOp::Kind::warp_fixed) warp_fixed(picture, op);
    if (op.kind == PixelOp::Kind::warp_precise) warp_precise(picture, op);
    if (op.kind == PixelOp::Kind::warp_bilinear) warp_bilinear(picture, op);
    if (op.kind == PixelOp::Kind::crop) crop(picture, op.region);
    if (op.kind == PixelOp::Kind::resize) resize(picture, op.resampling, taps);
    if (op.kind == PixelOp::Kind::rotate_normalized) {
      write_rotated(picture, op, levels, out);
      written = true;
    }
  }
  if (!written) write(picture, levels, out);
  if (threadIdx.x == 0 && channel == 0) labels[blockIdx.x] = source.labels[number];
}

}  // namespace

void augment_batch(const AugmentSource& source, const std::int64_t* batch, int count, float* images,
                   std::int64_t* labels) {
  const auto pixels = static_cast<std::size_t>(source.workspace.pixels);
  const std::size_t shared_bytes =
      SharedLayout()
          .array<std::uint8_t>(pixels)
          .array<std::uint8_t>(pixels)
          .array<std::int32_t>(static_cast<std::size_t>(source.workspace.tap_integers))
          .array<int>(reduce_scratch)
          .bytes();
  launch<augment_batch_kernel>(
      {.blocks = {static_cast<unsigned>(count), static_cast<unsigned>(source.channels)},
       .threads = block_size,
       .shared_bytes = shared_bytes},
      source, batch, images, labels);
}

}  // namespace mnist::cuda
