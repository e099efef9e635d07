// SPDX-License-Identifier: MIT
#include "augment/image.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "kernelgrad/error.h"

namespace mnist {
namespace {

double radians(double degrees) { return degrees * (std::numbers::pi / 180); }

// The inverse of turn * scale * shear_y * shear_x, in closed form. The order of the floating-point operations
// is torchvision's: another one would move pixels that lie on a boundary.
SourceMap centred_source_map(const AffineParameters& p) {
  const double turn = radians(p.angle);
  const double shear_x = radians(p.shear_x);
  const double shear_y = radians(p.shear_y);
  const double cosine = std::cos(turn - shear_y);
  const double sine = std::sin(turn - shear_y);
  const double a = cosine / std::cos(shear_y);
  const double b = -cosine * std::tan(shear_x) / std::cos(shear_y) - std::sin(turn);
  const double c = sine / std::cos(shear_y);
  const double d = -sine * std::tan(shear_x) / std::cos(shear_y) + std::cos(turn);
  return {d / p.scale, -b / p.scale, -c / p.scale, a / p.scale, 0, 0};
}

// The same about the centre of an image instead of (0, 0), with a shift after it.
SourceMap about_centre(SourceMap map, const ImageSize& size, int dx, int dy) {
  const double center_x = size.width * 0.5;
  const double center_y = size.height * 0.5;
  const double shift_x = -center_x - dx;
  const double shift_y = -center_y - dy;
  map.x0 = map.xx * shift_x + map.xy * shift_y + center_x;
  map.y0 = map.yx * shift_x + map.yy * shift_y + center_y;
  return map;
}

// Source coordinates are doubles, or 16.16 fixed point in 64 bits, which cannot overflow one step past the
// edge.
std::int64_t to_fixed(double value) { return static_cast<std::int64_t>(std::floor(value * 65536 + 0.5)); }
bool is_inside(std::int64_t position, int size) {
  return static_cast<std::uint64_t>(position) < static_cast<std::uint64_t>(size) << 16;
}
bool is_inside(double position, int size) { return position >= 0 && position < size; }
std::int64_t pixel_at(std::int64_t position) { return position >> 16; }
std::int64_t pixel_at(double position) { return static_cast<std::int64_t>(position); }

template <typename Coordinate>
void gather(const std::uint8_t* in, std::uint8_t* out, int height, int width, const Walk<Coordinate>& walk,
            int fill) {
  Coordinate row_x = walk.x;
  Coordinate row_y = walk.y;
  for (int i = 0; i < height; ++i) {
    Coordinate x = row_x;
    Coordinate y = row_y;
    for (int j = 0; j < width; ++j) {
      const bool inside = is_inside(x, width) && is_inside(y, height);
      *out++ = inside ? in[pixel_at(y) * width + pixel_at(x)] : static_cast<std::uint8_t>(fill);
      x += walk.x_right;
      y += walk.y_right;
    }
    row_x += walk.x_down;
    row_y += walk.y_down;
  }
}

bool fits_fixed(const SourceMap& map, const ImageSize& size) {
  constexpr double limit = 32768;
  for (const int x : {0, size.width})
    for (const int y : {0, size.height})
      if (!(std::fabs(x * map.xx + y * map.xy + map.x0) < limit &&
            std::fabs(x * map.yx + y * map.yy + map.y0) < limit))
        return false;
  return true;
}

PixelOp plan_warp(const SourceMap& map, const ImageSize& size, std::uint8_t fill) {
  const double x = map.x0 + map.xx * 0.5 + map.xy * 0.5;
  const double y = map.y0 + map.yx * 0.5 + map.yy * 0.5;
  PixelOp op{.kind = PixelOp::Kind::warp_fixed, .factor = 0, .fill = fill, .fixed_walk = {}};
  // PIL's choice: fixed point for what is turned or sheared and stays in its range, doubles for the rest.
  if ((map.xy != 0 || map.yx != 0) && fits_fixed(map, size)) {
    op.fixed_walk = {to_fixed(x),      to_fixed(y),      to_fixed(map.xx),
                     to_fixed(map.yx), to_fixed(map.xy), to_fixed(map.yy)};
  } else {
    op.kind = PixelOp::Kind::warp_precise;
    op.precise_walk = {x, y, map.xx, map.yx, map.xy, map.yy};
  }
  return op;
}

// The value at (x, y), which is inside, between the centres of the four pixels around it; those beyond an
// edge are as those at it. The order of the floating-point operations is PIL's.
std::uint8_t blend_neighbours(const std::uint8_t* in, int height, int width, double x, double y) {
  x -= 0.5;
  y -= 0.5;
  const int left = static_cast<int>(std::floor(x)), top = static_cast<int>(std::floor(y));
  const int x0 = std::max(left, 0), x1 = std::min(left + 1, width - 1);
  const auto in_row = [&](int row) {
    const std::uint8_t* pixels = in + std::int64_t{row} * width;
    return pixels[x0] + (pixels[x1] - pixels[x0]) * (x - left);
  };
  const double above = in_row(std::max(top, 0)), below = in_row(std::min(top + 1, height - 1));
  return static_cast<std::uint8_t>(above + (below - above) * (y - top));
}

void interpolate(const std::uint8_t* in, std::uint8_t* out, int height, int width, const PixelOp& op) {
  const SourceMap& map = op.source_map;
  for (int i = 0; i < height; ++i)
    for (int j = 0; j < width; ++j) {
      const double x = map.xx * (j + 0.5) + map.xy * (i + 0.5) + map.x0;
      const double y = map.yx * (j + 0.5) + map.yy * (i + 0.5) + map.y0;
      const bool inside = is_inside(x, width) && is_inside(y, height);
      *out++ = inside ? blend_neighbours(in, height, width, x, y) : static_cast<std::uint8_t>(op.fill);
    }
}

void warp(const std::uint8_t* in, std::uint8_t* out, int height, int width, const PixelOp& op) {
  if (op.kind == PixelOp::Kind::warp_bilinear)
    interpolate(in, out, height, width, op);
  else if (op.kind == PixelOp::Kind::warp_fixed)
    gather(in, out, height, width, op.fixed_walk, op.fill);
  else
    gather(in, out, height, width, op.precise_walk, op.fill);
}

PixelOp plan_crop(const ImageSize& size, const Region& region) {
  const bool whole = region.top == 0 && region.left == 0 && ImageSize(region.height, region.width) == size;
  return {
      .kind = whole ? PixelOp::Kind::keep : PixelOp::Kind::crop, .factor = 0, .fill = 0, .region = region};
}

// Where a stretch of `length` begins in the middle of `size`. Half a pixel goes to the even number, as Python
// rounds it, or to the left of an image that is widened.
int centred_start(int size, int length) {
  if (length > size) return -((length - size) / 2);
  return static_cast<int>(std::nearbyint((size - length) / 2.0));
}

// How many source pixels one output pixel can depend on, if `from` pixels become `to`.
int tap_count(int from, int to) { return std::min(from, 2 * std::max(1, (from + to - 1) / to) + 1); }

void crop_region(const Image& in, const Region& region, Image& out) {
  out.resize(region.height, region.width);
  std::uint8_t* pixel = out.pixels.data();
  for (int y = region.top; y < region.top + region.height; ++y)
    for (int x = region.left; x < region.left + region.width; ++x) {
      const bool inside = y >= 0 && y < in.height && x >= 0 && x < in.width;
      *pixel++ = inside ? in.pixels[static_cast<std::size_t>(y * in.width + x)] : std::uint8_t{0};
    }
}

// What one output pixel is made of along one axis: source pixels from `first` on, with weights in 1/2^22.
struct Taps {
  int first;
  std::vector<std::int32_t> weights;
};

// PIL's triangle filter, which is as wide as an output pixel where the image shrinks. The order of the
// floating-point operations is PIL's.
void compute_taps(int from, int to, int position, int count, Taps& taps) {
  const double scale = static_cast<double>(from) / to;
  const double support = std::max(scale, 1.0);
  const double center = (position + 0.5) * scale;
  // Beyond the support the filter is 0.
  taps.first = std::clamp(static_cast<int>(center - support + 0.5), 0, from - count);
  const auto filter = [&](int tap) {
    return std::max(1 - std::fabs((taps.first + tap - center + 0.5) * (1 / support)), 0.0);
  };
  double total = 0;
  for (int tap = 0; tap < count; ++tap) total += filter(tap);
  taps.weights.clear();
  for (int tap = 0; tap < count; ++tap)
    taps.weights.push_back(static_cast<std::int32_t>(0.5 + filter(tap) / total * (1 << 22)));
}

// The weighted mean of pixels that lie `stride` apart, rounded.
std::uint8_t weighted_mean(const std::uint8_t* pixels, int stride, const std::vector<std::int32_t>& weights) {
  std::int32_t sum = 1 << 21;
  for (const std::int32_t weight : weights) {
    sum += *pixels * weight;
    pixels += stride;
  }
  return static_cast<std::uint8_t>(sum >> 22);
}

void resize_columns(const Image& in, const Resampling& resampling, Image& out) {
  thread_local Taps taps;
  const Region& from = resampling.from;
  out.resize(from.height, resampling.width);
  const std::uint8_t* corner = &in.pixels[static_cast<std::size_t>(from.top * in.width + from.left)];
  for (int x = 0; x < out.width; ++x) {
    compute_taps(from.width, out.width, x, resampling.column_taps, taps);
    for (int y = 0; y < out.height; ++y)
      out.pixels[static_cast<std::size_t>(y * out.width + x)] =
          weighted_mean(corner + y * in.width + taps.first, 1, taps.weights);
  }
}

void resize_rows(const Image& in, const Resampling& resampling, Image& out) {
  thread_local Taps taps;
  out.resize(resampling.height, in.width);
  std::uint8_t* pixel = out.pixels.data();
  for (int y = 0; y < out.height; ++y) {
    compute_taps(in.height, out.height, y, resampling.row_taps, taps);
    const std::uint8_t* row = &in.pixels[static_cast<std::size_t>(taps.first * in.width)];
    for (int x = 0; x < out.width; ++x) *pixel++ = weighted_mean(row + x, in.width, taps.weights);
  }
}

// The pixel in which a position from -1 to 1 lies, halfway between two the even one.
int pixel_at(float position, int size) {
  return static_cast<int>(std::nearbyint((position + 1) * (static_cast<float>(size) / 2) - 0.5f));
}

PixelOp plan_blend(PixelOp::Kind kind, double factor) {
  return {.kind = kind, .factor = static_cast<float>(factor), .fill = 0, .fixed_walk = {}};
}

int mean_grey(std::span<const std::uint8_t> pixels) {
  const auto sum = std::accumulate(pixels.begin(), pixels.end(), std::uint64_t{0});
  return static_cast<int>(static_cast<double>(sum) / static_cast<double>(pixels.size()) + 0.5);
}

// PIL's Image.blend between a grey level (factor 0) and the image (factor 1) or beyond, in float32.
void blend(std::span<std::uint8_t> pixels, const PixelOp& op) {
  if (pixels.empty()) return;
  const int grey = op.kind == PixelOp::Kind::blend_mean ? mean_grey(pixels) : 0;
  const float start = static_cast<float>(grey);
  const float alpha = op.factor;
  for (std::uint8_t& pixel : pixels) {
    const float blended = start + alpha * static_cast<float>(pixel - grey);
    // By way of int, for which compilers have vector instructions.
    pixel = static_cast<std::uint8_t>(static_cast<int>(std::min(std::max(0.0f, blended), 255.0f)));
  }
}

}  // namespace

void Image::resize(int new_height, int new_width) {
  height = new_height;
  width = new_width;
  pixels.resize(static_cast<std::size_t>(height) * static_cast<std::size_t>(width));
}

void Image::assign(std::span<const std::uint8_t> source, int new_height, int new_width) {
  resize(new_height, new_width);
  if (source.size() != pixels.size())
    throw kg::Error(fmt::format("Image: given {} pixels, a {}x{} image has {}", source.size(), height, width,
                                pixels.size()));
  std::copy(source.begin(), source.end(), pixels.begin());
}

Normalize::Normalize(float mean, float std) {
  if (!(std > 0)) throw kg::Error(fmt::format("Normalize: std is {}, expected a positive number", std));
  for (std::size_t level = 0; level < levels_.size(); ++level)
    levels_[level] = (static_cast<float>(level) / 255 - mean) / std;
}

void Normalize::operator()(std::span<const std::uint8_t> pixels, float* out) const {
  for (const std::uint8_t pixel : pixels) *out++ = levels_[pixel];
}

PixelOp plan_affine(const ImageSize& size, const AffineParameters& parameters, std::uint8_t fill,
                    Interpolation interpolation) {
  if (!(parameters.scale > 0))
    throw kg::Error(fmt::format("warp_affine: scale is {}, expected a positive factor", parameters.scale));
  const SourceMap map = about_centre(centred_source_map(parameters), size, parameters.dx, parameters.dy);
  if (interpolation == Interpolation::bilinear)
    return {.kind = PixelOp::Kind::warp_bilinear, .factor = 0, .fill = fill, .source_map = map};
  return plan_warp(map, size, fill);
}

PixelOp plan_rotation(const ImageSize& size, double angle, std::uint8_t fill) {
  return plan_affine(size, {.angle = -angle}, fill);
}

PixelOp plan_center_crop(const ImageSize& from, const ImageSize& to) {
  return plan_crop(from, {centred_start(from.height, to.height), centred_start(from.width, to.width),
                          to.height, to.width});
}

PixelOp plan_resized_crop(const ImageSize& size, const Region& region, const ImageSize& to) {
  if (ImageSize(region.height, region.width) == to) return plan_crop(size, region);
  return {.kind = PixelOp::Kind::resize,
          .factor = 0,
          .fill = 0,
          .resampling = {region, to.height, to.width, tap_count(region.height, to.height),
                         tap_count(region.width, to.width)}};
}

PixelOp plan_brightness(double factor) { return plan_blend(PixelOp::Kind::blend_black, factor); }
PixelOp plan_contrast(double factor) { return plan_blend(PixelOp::Kind::blend_mean, factor); }

PixelOp plan_normalized_rotation(const ImageSize& size, double angle, std::uint8_t fill) {
  const SourceMap map = centred_source_map({.angle = -angle});
  const float half_width = static_cast<float>(size.width * 0.5),
              half_height = static_cast<float>(size.height * 0.5);
  return {
      .kind = PixelOp::Kind::rotate_normalized,
      .factor = 0,
      .fill = fill,
      .centred_map = {static_cast<float>(map.xx) / half_width, static_cast<float>(map.xy) / half_width,
                      static_cast<float>(map.yx) / half_height, static_cast<float>(map.yy) / half_height}};
}

Workspace resize_workspace(const ImageSize& size, const ImageSize& to) {
  return {.pixels = std::int64_t{size.height} * to.width,
          .tap_integers = tap_integers(to.height, tap_count(size.height, to.height)) +
                          tap_integers(to.width, tap_count(size.width, to.width))};
}

void apply_op(const PixelOp& op, Image& image, Image& scratch) {
  switch (op.kind) {
    case PixelOp::Kind::keep:
    case PixelOp::Kind::rotate_normalized:
      return;
    case PixelOp::Kind::blend_black:
    case PixelOp::Kind::blend_mean:
      return blend(image.pixels, op);
    case PixelOp::Kind::warp_fixed:
    case PixelOp::Kind::warp_precise:
    case PixelOp::Kind::warp_bilinear:
      scratch.resize(image.height, image.width);
      warp(image.pixels.data(), scratch.pixels.data(), image.height, image.width, op);
      break;
    case PixelOp::Kind::crop:
      crop_region(image, op.region, scratch);
      break;
    case PixelOp::Kind::resize:
      resize_columns(image, op.resampling, scratch);
      resize_rows(scratch, op.resampling, image);
      return;
  }
  std::swap(image, scratch);
}

void apply_normalized(const PixelOp& op, const Image& image, const Normalize& normalize, float* out) {
  const int height = image.height, width = image.width;
  const CentredMap map = op.centred_map;
  for (int i = 0; i < height; ++i) {
    const float row = static_cast<float>(i) - static_cast<float>(height - 1) / 2;
    for (int j = 0; j < width; ++j) {
      const float column = static_cast<float>(j) - static_cast<float>(width - 1) / 2;
      const int x = pixel_at(column * map.xx + row * map.xy, width);
      const int y = pixel_at(column * map.yx + row * map.yy, height);
      const bool inside = x >= 0 && x < width && y >= 0 && y < height;
      *out++ = inside ? normalize.levels()[image.pixels[static_cast<std::size_t>(y * width + x)]]
                      : static_cast<float>(op.fill);
    }
  }
}

void warp_affine(const std::uint8_t* in, std::uint8_t* out, int height, int width,
                 const AffineParameters& parameters, std::uint8_t fill, Interpolation interpolation) {
  warp(in, out, height, width, plan_affine({height, width}, parameters, fill, interpolation));
}

void rotate(const std::uint8_t* in, std::uint8_t* out, int height, int width, double angle,
            std::uint8_t fill) {
  warp(in, out, height, width, plan_rotation({height, width}, angle, fill));
}

void center_crop(Image& image, Image& scratch, const ImageSize& size) {
  apply_op(plan_center_crop(image.size(), size), image, scratch);
}

void resized_crop(Image& image, Image& scratch, const Region& region, const ImageSize& size) {
  const bool inside = region.top >= 0 && region.left >= 0 && region.height >= 1 && region.width >= 1 &&
                      region.top + region.height <= image.height && region.left + region.width <= image.width;
  if (!inside)
    throw kg::Error(
        fmt::format("resized_crop: {}x{} pixels from row {} and column {} on, expected some inside of an "
                    "image of {}x{}",
                    region.height, region.width, region.top, region.left, image.height, image.width));
  apply_op(plan_resized_crop(image.size(), region, size), image, scratch);
}

void rotate_normalized(const Image& image, const Normalize& normalize, double angle, std::uint8_t fill,
                       float* out) {
  apply_normalized(plan_normalized_rotation(image.size(), angle, fill), image, normalize, out);
}

}  // namespace mnist
