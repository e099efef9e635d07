#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "kernelgrad/random.h"
#include "pixel_op.h"

namespace mnist {

/// A grey 8-bit image, row by row. Reassigning it to another size keeps its memory, so that a pair of them
/// per thread serves any number of samples.
struct Image {
  int height = 0;
  int width = 0;
  std::vector<std::uint8_t> pixels;

  /// Makes the image height x width; its pixels are unspecified afterwards.
  void resize(int new_height, int new_width);
  /// Makes the image a copy of `source`, which has height x width pixels.
  void assign(std::span<const std::uint8_t> source, int new_height, int new_width);
};

/// Where one affine warp moves an image, with torchvision's meaning: shear, scale and turn it about its
/// centre, then shift it.
struct AffineParameters {
  double angle = 0;    ///< degrees, clockwise
  int dx = 0;          ///< pixels to the right
  int dy = 0;          ///< pixels down
  double scale = 1;    ///< larger than 1 enlarges
  double shear_x = 0;  ///< degrees
  double shear_y = 0;  ///< degrees
};

/// Warps `in` [height, width] into `out` [height, width], two different buffers. Each output pixel is the
/// input pixel that its centre comes from (no interpolation), `fill` where it comes from outside.
///
/// Equal, pixel for pixel, to torchvision.transforms.functional.affine on an 8-bit PIL image, whose 16.16
/// fixed-point coordinates it shares. Throws kg::Error unless scale is positive.
void warp_affine(const std::uint8_t* in, std::uint8_t* out, int height, int width,
                 const AffineParameters& parameters, std::uint8_t fill);

/// Multiplies every pixel by `factor`, truncating and clipping as PIL's ImageEnhance.Brightness does. In
/// place.
void adjust_brightness(std::span<std::uint8_t> pixels, double factor);

/// Moves every pixel's distance from the rounded mean grey by `factor`, truncating and clipping as PIL's
/// ImageEnhance.Contrast does. In place.
void adjust_contrast(std::span<std::uint8_t> pixels, double factor);

/// An interval to draw from uniformly.
struct Range {
  double low = 0;
  double high = 0;
};

/// An interval of angles in degrees. One number d means [-d, d], as in torchvision.
struct AngleRange : Range {
  AngleRange(double largest)
      : Range{-largest, largest} {}  // NOLINT(google-explicit-constructor): .degrees = 20
  AngleRange(double low, double high) : Range{low, high} {}
};

/// torchvision.transforms.RandomAffine with nearest-neighbour sampling about the image centre.
struct RandomAffine {
  AngleRange degrees = 0;
  std::array<double, 2> translate = {0, 0};  ///< largest shift as a fraction of width and height, in [0, 1]
  Range scale = {1, 1};
  AngleRange shear_x = 0;
  AngleRange shear_y = 0;
  std::uint8_t fill = 0;

  /// Angle, scale and shears uniform in their ranges; dx = round(U(-w, w)) with w = translate[0] * width, dy
  /// likewise with the height. Makes six draws, whatever the ranges.
  AffineParameters sample(int height, int width, kg::RandomStream& random) const;

  static constexpr int op_count = 1;
  /// Draws for an image of that size, and writes down what is to be done: op_count operations.
  void plan(int height, int width, kg::RandomStream& random, PixelOp* ops) const;
};

enum class JitterOp : std::uint8_t { brightness, contrast, saturation, hue };

/// One jitter: the operations in the order in which they happen, and their factors.
struct JitterParameters {
  std::array<JitterOp, 4> order = {JitterOp::brightness, JitterOp::contrast, JitterOp::saturation,
                                   JitterOp::hue};
  double brightness = 1;
  double contrast = 1;
};

/// torchvision.transforms.ColorJitter. Saturation and hue take part in the order only: they leave a grey
/// image as it is.
struct ColorJitter {
  double brightness = 0;  ///< factor uniform in [max(0, 1 - brightness), 1 + brightness]
  double contrast = 0;    ///< factor uniform in [max(0, 1 - contrast), 1 + contrast]
  double saturation = 0;
  double hue = 0;  ///< at most 0.5

  /// A random permutation of the four operations, and the factors of those that change a grey image.
  JitterParameters sample(kg::RandomStream& random) const;

  static constexpr int op_count = 2;
  /// As RandomAffine::plan.
  void plan(int height, int width, kg::RandomStream& random, PixelOp* ops) const;
};

/// Does what `parameters` say, in place.
void jitter(std::span<std::uint8_t> pixels, const JitterParameters& parameters);

/// One step of an augmentation. A new kind has the same `plan` and a check of its arguments in augment.cpp.
using Transform = std::variant<RandomAffine, ColorJitter>;

/// Random transforms, applied one after another, as torchvision.transforms.Compose does:
///
///     const Augmentation augmentation({RandomAffine{.degrees = 20, .translate = {0.1, 0.1}, .scale =
///     {0.9, 1.1}},
///                                      ColorJitter{.brightness = 0.1, .contrast = 0.1}});
///     kg::RandomStream random(seed, kg::RandomPurpose::augmentation, epoch, index);
///     augmentation.apply(image, scratch, random);
///
/// With the stream addressed like this, an image's pixels depend on (seed, epoch, index) alone.
class Augmentation {
 public:
  /// Throws kg::Error for arguments outside torchvision's bounds.
  explicit Augmentation(std::vector<Transform> transforms = {});

  /// Transforms `image`, with `scratch` as working space; allocates nothing once both have seen the largest
  /// image. Safe to call from several threads, each with its own arguments.
  void apply(Image& image, Image& scratch, kg::RandomStream& random) const;

  /// How many operations the transforms come to for one image.
  int op_count() const;
  /// Draws as apply() does for an image of that size, and writes down the operations, op_count() of them, in
  /// their order.
  void plan(int height, int width, kg::RandomStream& random, PixelOp* ops) const;

 private:
  std::vector<Transform> transforms_;
};

/// torchvision's ToTensor and Normalize in one: (pixel / 255 - mean) / std in float32, with the same bits.
class Normalize {
 public:
  Normalize(float mean, float std);

  /// Normalises `pixels` into as many floats at `out`.
  void operator()(std::span<const std::uint8_t> pixels, float* out) const;

 private:
  float mean_;
  float std_;
};

}  // namespace mnist
