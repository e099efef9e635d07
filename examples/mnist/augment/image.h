// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "augment/pixel_op.h"

namespace mnist {

/// Height and width. One number n means n x n.
struct ImageSize {
  int height = 0;
  int width = 0;

  ImageSize(int both) : height(both), width(both) {}  // NOLINT(google-explicit-constructor): .size = 28
  ImageSize(int height, int width) : height(height), width(width) {}
  bool operator==(const ImageSize&) const = default;
};

/// A grey 8-bit image, row by row. Reassigning it to another size keeps its memory, so that a pair of them
/// per thread serves any number of samples.
struct Image {
  int height = 0;
  int width = 0;
  std::vector<std::uint8_t> pixels;

  ImageSize size() const { return {height, width}; }
  /// Makes the image height x width; its pixels are unspecified afterwards.
  void resize(int new_height, int new_width);
  /// Makes the image a copy of `source`. Throws kg::Error unless that has height x width pixels.
  void assign(std::span<const std::uint8_t> source, int new_height, int new_width);
};

/// torchvision's ToTensor and Normalize in one: (pixel / 255 - mean) / std in float32, with the same bits.
class Normalize {
 public:
  /// Throws kg::Error unless std is positive.
  Normalize(float mean, float std);

  /// What each grey level becomes.
  const std::array<float, 256>& levels() const { return levels_; }
  /// Normalises `pixels` into as many floats at `out`.
  void operator()(std::span<const std::uint8_t> pixels, float* out) const;

 private:
  std::array<float, 256> levels_;
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

/// What a pixel is that comes from between pixels: the one that its centre lies in, or a mean of the four
/// around that, the nearer the more.
enum class Interpolation : std::uint8_t { nearest, bilinear };

/// Warps `in` [height, width] into `out` [height, width], two different buffers. Each output pixel is what
/// its centre comes from, `fill` where that is outside.
///
/// Equal, pixel for pixel, to torchvision.transforms.functional.affine on an 8-bit PIL image, whose 16.16
/// fixed-point coordinates the nearest pixels share. Throws kg::Error unless scale is positive.
void warp_affine(const std::uint8_t* in, std::uint8_t* out, int height, int width,
                 const AffineParameters& parameters, std::uint8_t fill,
                 Interpolation interpolation = Interpolation::nearest);

/// Turns `in` [height, width] by `angle` degrees, counter-clockwise, about its centre into `out` [height,
/// width]: warp_affine the other way round. Equal, pixel for pixel, to
/// torchvision.transforms.functional.rotate on an 8-bit PIL image of at most 20,000 pixels a side: PIL
/// rounds sines and cosines to 15 decimals first, of which 16.16 fixed point sees nothing.
void rotate(const std::uint8_t* in, std::uint8_t* out, int height, int width, double angle,
            std::uint8_t fill);

/// Cuts the middle out of the image, or puts the image in the middle of a black one, as
/// torchvision.transforms.functional.center_crop does. `scratch` is working space.
void center_crop(Image& image, Image& scratch, const ImageSize& size);

/// Cuts `region`, which must lie in the image, out of it and resamples it bilinearly, over more pixels where
/// it shrinks: equal, pixel for pixel, to torchvision.transforms.functional.resized_crop on an 8-bit PIL
/// image. `scratch` is working space.
void resized_crop(Image& image, Image& scratch, const Region& region, const ImageSize& size);

/// Turns the normalised image by `angle` degrees, counter-clockwise, about its centre, and writes it to
/// `out`: normalised values, `fill` where one comes from outside. Equal to
/// torchvision.transforms.functional.rotate on a float tensor.
void rotate_normalized(const Image& image, const Normalize& normalize, double angle, std::uint8_t fill,
                       float* out);

/// @name What happens to an image of that size, decided
/// The parameters are those of the functions above. Brightness multiplies every pixel by `factor`, contrast
/// its distance from the rounded mean grey, truncating and clipping as PIL's ImageEnhance.Brightness and
/// Contrast.
/// @{
PixelOp plan_affine(const ImageSize& size, const AffineParameters& parameters, std::uint8_t fill,
                    Interpolation interpolation = Interpolation::nearest);
PixelOp plan_rotation(const ImageSize& size, double angle, std::uint8_t fill);
PixelOp plan_center_crop(const ImageSize& size, const ImageSize& to);
PixelOp plan_resized_crop(const ImageSize& size, const Region& region, const ImageSize& to);
PixelOp plan_brightness(double factor);
PixelOp plan_contrast(double factor);
PixelOp plan_normalized_rotation(const ImageSize& size, double angle, std::uint8_t fill);
/// @}

/// What plan_resized_crop() of a whole image takes.
Workspace resize_workspace(const ImageSize& size, const ImageSize& to);

/// Carries out a planned operation, with `scratch` as working space. rotate_normalized it leaves to
/// apply_normalized().
void apply_op(const PixelOp& op, Image& image, Image& scratch);

/// Carries out rotate_normalized, from a grey image to normalised values.
void apply_normalized(const PixelOp& op, const Image& image, const Normalize& normalize, float* out);

}  // namespace mnist
