#include "cuda/kernels.h"
#include "cuda/unfused.h"
#include "kernels/cuda/common/launch.h"
#include "kernels/cuda/common/reduce.h"
#include "kernels/cuda/common/shared_memory.h"

/// A batch of training images in one launch: gathered from the data set, warped, jittered, normalised.
///
/// A block owns an image. It takes the image's bytes into shared memory, carries out its operations there one
/// after another, and writes what the network sees of each grey. Pixel p belongs to thread p mod block_size
/// from beginning to end, so that only what reads other threads' pixels needs a barrier: warps, and the mean
/// grey of a blend.
///
/// The numbers of the operations come from the CPU, which draws them once an epoch: sines and cosines may
/// differ in the last bit between CPU and GPU, and a last bit can move a pixel. What is left are integers,
/// and sums of floating-point numbers in the order of the CPU, without fusing: the pixels are those of the
/// CPU. So are the network's inputs, which are looked up in a table of 256 that the CPU computed.
///
/// Of a 28x28 image 784 bytes are read and 3,136 written, and 64 bytes for each operation. The arithmetic, a
/// few integer operations a pixel and operation, is nothing beside that.
namespace mnist::cuda {

namespace {

using kg::kernels::Stream;
using kg::kernels::cuda::block_reduce;
using kg::kernels::cuda::launch;
using kg::kernels::cuda::reduce_scratch;
using kg::kernels::cuda::SharedLayout;
using kg::kernels::cuda::SharedMemory;
using kg::kernels::cuda::Sum;

/// 784 pixels are four rounds for each thread.
constexpr int block_size = 256;

/// True for the positions of `size` pixels in 16.16 fixed point; negative ones are large when unsigned.
__device__ bool is_inside(std::int64_t position, int size) {
  return static_cast<std::uint64_t>(position) < static_cast<std::uint64_t>(size) << 16;
}
__device__ bool is_inside(double position, int size) { return position >= 0 && position < size; }
__device__ int pixel_at(std::int64_t position) { return static_cast<int>(position >> 16); }
__device__ int pixel_at(double position) { return static_cast<int>(position); }

/// The pixel that the position lies in, `fill` outside.
template <class Coordinate>
__device__ std::uint8_t sample(const std::uint8_t* image, int height, int width, Coordinate x, Coordinate y,
                               int fill) {
  const bool inside = is_inside(x, width) && is_inside(y, height);
  return inside ? image[pixel_at(y) * width + pixel_at(x)] : static_cast<std::uint8_t>(fill);
}

/// Integers add up to the same in any order, so that every thread finds its pixels' positions at once.
__device__ void warp_fixed(const std::uint8_t* from, std::uint8_t* to, int height, int width,
                           const PixelOp& op) {
  const Walk<std::int64_t> walk = op.fixed_walk;
  for (int p = static_cast<int>(threadIdx.x); p < height * width; p += block_size) {
    const int row = p / width, column = p - row * width;
    to[p] = sample(from, height, width, walk.x + row * walk.x_down + column * walk.x_right,
                   walk.y + row * walk.y_down + column * walk.y_right, op.fill);
  }
}

/// Doubles do not: a thread walks along a row, adding step to step as the CPU does.
__device__ void warp_precise(const std::uint8_t* from, std::uint8_t* to, int height, int width,
                             const PixelOp& op) {
  const Walk<double> walk = op.precise_walk;
  for (int row = static_cast<int>(threadIdx.x); row < height; row += block_size) {
    double x = walk.x, y = walk.y;
    for (int i = 0; i < row; ++i) {
      x += walk.x_down;
      y += walk.y_down;
    }
    for (int column = 0; column < width; ++column) {
      to[row * width + column] = sample(from, height, width, x, y, op.fill);
      x += walk.x_right;
      y += walk.y_right;
    }
  }
  // The pixels go back to their owners.
  __syncthreads();
}

/// The mean, rounded half up.
__device__ int mean_grey(const std::uint8_t* image, int pixels, int* scratch) {
  int total = 0;
  for (int p = static_cast<int>(threadIdx.x); p < pixels; p += block_size) total += image[p];
  total = block_reduce(total, Sum{}, scratch);
  return static_cast<int>(static_cast<double>(total) / static_cast<double>(pixels) + 0.5);
}

/// Between `grey` (factor 0) and the image (factor 1) or beyond, cut off to what a byte holds.
__device__ void blend(std::uint8_t* image, int pixels, int grey, float factor) {
  for (int p = static_cast<int>(threadIdx.x); p < pixels; p += block_size) {
    const float blended = sum(static_cast<float>(grey), product(factor, static_cast<float>(image[p] - grey)));
    // NaN becomes black, as on the CPU.
    image[p] = static_cast<std::uint8_t>(fminf(fmaxf(blended, 0.0f), 255.0f));
  }
}

__global__ void __launch_bounds__(block_size)
    augment_batch_kernel(const AugmentSource source, const std::int64_t* batch, float* images,
                         std::int64_t* labels) {
  const int height = source.height, width = source.width, pixels = height * width;
  SharedMemory shared;
  std::uint8_t* image = shared.array<std::uint8_t>(pixels);
  std::uint8_t* other = shared.array<std::uint8_t>(pixels);
  int* scratch = shared.array<int>(reduce_scratch);

  const std::int64_t place = *batch * source.batch_size + blockIdx.x;
  const std::int64_t number = source.order[place];
  for (int p = static_cast<int>(threadIdx.x); p < pixels; p += block_size)
    image[p] = source.images[number * pixels + p];

  for (int i = 0; i < source.ops_per_image; ++i) {
    const PixelOp& op = source.ops[place * source.ops_per_image + i];
    if (op.kind == PixelOp::Kind::blend_black) {
      blend(image, pixels, 0, op.factor);
      continue;
    }
    if (op.kind == PixelOp::Kind::blend_mean) {
      blend(image, pixels, mean_grey(image, pixels, scratch), op.factor);
      continue;
    }
    // A warp reads everybody's pixels of `image`, and overwrites those of `other` that the warp before it
    // read.
    __syncthreads();
    if (op.kind == PixelOp::Kind::warp_fixed)
      warp_fixed(image, other, height, width, op);
    else
      warp_precise(image, other, height, width, op);
    std::uint8_t* const warped = other;
    other = image;
    image = warped;
  }

  for (int p = static_cast<int>(threadIdx.x); p < pixels; p += block_size)
    images[std::int64_t{blockIdx.x} * pixels + p] = source.levels[image[p]];
  if (threadIdx.x == 0) labels[blockIdx.x] = source.labels[number];
}

}  // namespace

void augment_batch(const AugmentSource& source, const std::int64_t* batch, int count, float* images,
                   std::int64_t* labels, Stream stream) {
  const std::size_t pixels = static_cast<std::size_t>(source.height) * static_cast<std::size_t>(source.width);
  const std::size_t shared_bytes = SharedLayout()
                                       .array<std::uint8_t>(pixels)
                                       .array<std::uint8_t>(pixels)
                                       .array<int>(reduce_scratch)
                                       .bytes();
  launch<augment_batch_kernel>(
      {.blocks = static_cast<unsigned>(count), .threads = block_size, .shared_bytes = shared_bytes}, stream,
      source, batch, images, labels);
}

}  // namespace mnist::cuda
