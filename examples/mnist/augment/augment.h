// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "augment/image.h"
#include "kernelgrad/random.h"

namespace mnist {

/// An interval to draw from uniformly.
struct Range {
  double low = 0;
  double high = 0;
};

/// An interval of angles in degrees. One number d means [-d, d], as in torchvision.
struct AngleRange : Range {
  // NOLINTNEXTLINE(google-explicit-constructor): .degrees = 20
  AngleRange(double largest) : Range{-largest, largest} {}
  AngleRange(double low, double high) : Range{low, high} {}
};

/// torchvision.transforms.RandomAffine about the image centre.
struct RandomAffine {
  AngleRange degrees = 0;
  std::array<double, 2> translate = {0, 0};  ///< largest shift as a fraction of width and height, in [0, 1]
  Range scale = {1, 1};
  AngleRange shear_x = 0;
  AngleRange shear_y = 0;
  Interpolation interpolation = Interpolation::nearest;
  std::uint8_t fill = 0;

  /// Angle, scale and shears uniform in their ranges; dx = round(U(-w, w)) with w = translate[0] * width, dy
  /// likewise with the height. Makes six draws, whatever the ranges.
  AffineParameters sample(int height, int width, kg::RandomStream& random) const;
};

/// torchvision.transforms.RandomRotation with nearest-neighbour sampling about the image centre. Before
/// normalisation it is PIL's; after it (AugmentationOptions), the one of float tensors, which
/// rounds differently.
struct RandomRotation {
  AngleRange degrees = 0;  ///< counter-clockwise
  std::uint8_t fill = 0;   ///< a grey level; after normalisation, a normalised value

  /// An angle uniform in `degrees`.
  double sample(kg::RandomStream& random) const;
};

/// torchvision.transforms.RandomResizedCrop: a rectangle of random area and shape, brought to one size by
/// resized_crop().
struct RandomResizedCrop {
  ImageSize size;
  Range scale = {0.08, 1};         ///< area of the rectangle, as a fraction of the image's
  Range ratio = {3. / 4, 4. / 3};  ///< width / height of the rectangle

  /// Area uniform and logarithm of the ratio uniform in their ranges, edges rounded, corner uniform among
  /// those that keep the rectangle in the image. Where ten tries give none that fits, the largest rectangle
  /// in the middle whose ratio is in range.
  Region sample(int height, int width, kg::RandomStream& random) const;
};

/// torchvision.transforms.Resize((height, width)), bilinear, on an 8-bit PIL image: resized_crop() of the
/// whole.
struct Resize {
  ImageSize size;
};

/// torchvision.transforms.CenterCrop: center_crop().
struct CenterCrop {
  ImageSize size;
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
};

/// What `parameters` say, in their order.
std::array<PixelOp, 2> plan_jitter(const JitterParameters& parameters);

struct RandomApply;

/// One step of an augmentation. What a new kind needs is listed in augment.cpp.
using Transform = std::variant<RandomAffine, RandomRotation, RandomResizedCrop, Resize, CenterCrop,
                               ColorJitter, RandomApply>;

/// torchvision.transforms.RandomApply: all of the transforms with probability p, none of them otherwise.
struct RandomApply {
  double p = 0.5;
  std::vector<Transform> transforms = {};
};

/// What happens to an image once it has been normalised.
struct AugmentationOptions {
  std::optional<RandomRotation> after_normalize;
};

/// Random transforms, applied one after another, as torchvision.transforms.Compose does:
///
///     const Augmentation augmentation({RandomAffine{.degrees = 20, .translate = {0.1, 0.1}},
///                                      ColorJitter{.brightness = 0.1, .contrast = 0.1}});
///     kg::RandomStream random(seed, kg::RandomPurpose::augmentation, epoch, index);
///     augmentation.apply(image, scratch, random);
///
/// With the stream addressed like this, an image's pixels depend on (seed, epoch, index) alone. One that
/// turns the normalised image, as a source that has its RandomRotation behind ToTensor and Normalize:
///
///     const Augmentation augmentation({RandomApply{.p = 0.1, .transforms = {CenterCrop{.size = 24}}},
///                                      Resize{.size = 28}},
///                                     {.after_normalize = RandomRotation{.degrees = 5}});
class Augmentation {
 public:
  /// Throws kg::Error for arguments outside torchvision's bounds.
  explicit Augmentation(std::vector<Transform> transforms = {}, AugmentationOptions options = {});

  /// What comes of images of that size. Throws kg::Error if it is chance that decides.
  ImageSize output_size(const ImageSize& input) const;
  /// What images of that size take on their way.
  Workspace workspace(const ImageSize& input) const;

  /// Transforms `image`, with `scratch` as working space, up to where it would be normalised. Allocates
  /// nothing once both have seen the largest image. Safe to call from several threads, each with its own
  /// arguments.
  void apply(Image& image, Image& scratch, kg::RandomStream& random) const;
  /// The same, then normalises, does what comes after that, and writes the image's values to `out`.
  void apply(Image& image, Image& scratch, kg::RandomStream& random, const Normalize& normalize,
             float* out) const;

  /// How many operations the transforms come to for one image.
  int op_count() const { return op_count_; }
  /// Draws as apply() does for an image of that size, and writes down the operations, op_count() of them, in
  /// their order.
  void plan(const ImageSize& input, kg::RandomStream& random, PixelOp* ops) const;
  /// Does what plan() wrote down for an image of that size, one channel of it, as apply() does.
  void carry_out(std::span<const PixelOp> ops, Image& image, Image& scratch, const Normalize& normalize,
                 float* out) const;

  /// Whether each channel of an image can be transformed by itself. A ColorJitter of more than the brightness
  /// mixes them.
  bool takes_colour() const;

 private:
  void finish(std::span<const PixelOp> ops, const Image& image, const Normalize& normalize, float* out) const;
  std::span<const PixelOp> plan_and_apply(Image& image, Image& scratch, kg::RandomStream& random) const;

  std::vector<Transform> transforms_;
  AugmentationOptions options_;
  int op_count_;
};

}  // namespace mnist
