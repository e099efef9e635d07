#include "augment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <utility>

#include "kernelgrad/error.h"

namespace mnist {
namespace {

// Where output position (x, y) comes from: (xx * x + xy * y + x0, yx * x + yy * y + y0).
struct SourceMap {
  double xx, xy, x0;
  double yx, yy, y0;
};

double radians(double degrees) { return degrees * (std::numbers::pi / 180); }

// The inverse of shift * centre * turn * scale * shear_y * shear_x * centre^-1, in closed form. The order of
// the floating-point operations is torchvision's: another one would move pixels that lie on a boundary.
SourceMap source_map(int height, int width, const AffineParameters& p) {
  const double turn = radians(p.angle);
  const double shear_x = radians(p.shear_x);
  const double shear_y = radians(p.shear_y);
  const double cosine = std::cos(turn - shear_y);
  const double sine = std::sin(turn - shear_y);
  const double a = cosine / std::cos(shear_y);
  const double b = -cosine * std::tan(shear_x) / std::cos(shear_y) - std::sin(turn);
  const double c = sine / std::cos(shear_y);
  const double d = -sine * std::tan(shear_x) / std::cos(shear_y) + std::cos(turn);

  SourceMap map{d / p.scale, -b / p.scale, 0, -c / p.scale, a / p.scale, 0};
  const double center_x = width * 0.5;
  const double center_y = height * 0.5;
  const double shift_x = -center_x - p.dx;
  const double shift_y = -center_y - p.dy;
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

bool fits_fixed(const SourceMap& map, int height, int width) {
  constexpr double limit = 32768;
  for (const int x : {0, width})
    for (const int y : {0, height})
      if (!(std::fabs(x * map.xx + y * map.xy + map.x0) < limit &&
            std::fabs(x * map.yx + y * map.yy + map.y0) < limit))
        return false;
  return true;
}

PixelOp plan_warp(int height, int width, const AffineParameters& parameters, std::uint8_t fill) {
  if (!(parameters.scale > 0))
    throw kg::Error(fmt::format("warp_affine: scale is {}, expected a positive factor", parameters.scale));
  const SourceMap map = source_map(height, width, parameters);
  const double x = map.x0 + map.xx * 0.5 + map.xy * 0.5;
  const double y = map.y0 + map.yx * 0.5 + map.yy * 0.5;
  PixelOp op{.kind = PixelOp::Kind::warp_fixed, .factor = 0, .fill = fill, .fixed_walk = {}};
  // PIL's choice: fixed point for what is turned or sheared and stays in its range, doubles for the rest.
  if ((map.xy != 0 || map.yx != 0) && fits_fixed(map, height, width)) {
    op.fixed_walk = {to_fixed(x),      to_fixed(y),      to_fixed(map.xx),
                     to_fixed(map.yx), to_fixed(map.xy), to_fixed(map.yy)};
  } else {
    op.kind = PixelOp::Kind::warp_precise;
    op.precise_walk = {x, y, map.xx, map.yx, map.xy, map.yy};
  }
  return op;
}

void warp(const std::uint8_t* in, std::uint8_t* out, int height, int width, const PixelOp& op) {
  if (op.kind == PixelOp::Kind::warp_fixed)
    gather(in, out, height, width, op.fixed_walk, op.fill);
  else
    gather(in, out, height, width, op.precise_walk, op.fill);
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

void apply_op(const PixelOp& op, Image& image, Image& scratch) {
  if (op.kind == PixelOp::Kind::blend_black || op.kind == PixelOp::Kind::blend_mean)
    return blend(image.pixels, op);
  scratch.resize(image.height, image.width);
  warp(image.pixels.data(), scratch.pixels.data(), image.height, image.width, op);
  std::swap(image, scratch);
}

double jitter_factor(double strength, kg::RandomStream& random) {
  return random.uniform(std::max(0.0, 1 - strength), 1 + strength);
}

void check_range(const Range& range, const char* name, double low, double high) {
  if (!(range.low > low && range.low <= range.high && range.high < high))
    throw kg::Error(fmt::format("RandomAffine: {} is [{}, {}], expected low <= high, both between {} and {}",
                                name, range.low, range.high, low, high));
}

void check(const RandomAffine& affine) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  check_range(affine.degrees, "degrees", -infinity, infinity);
  check_range(affine.scale, "scale", 0, infinity);
  check_range(affine.shear_x, "shear_x", -90, 90);
  check_range(affine.shear_y, "shear_y", -90, 90);
  for (const double translate : affine.translate)
    if (!(translate >= 0 && translate <= 1))
      throw kg::Error(
          fmt::format("RandomAffine: translate is [{}, {}], expected fractions of the image size in [0, 1]",
                      affine.translate[0], affine.translate[1]));
}

void check_strength(double strength, const char* name, double largest) {
  if (!(strength >= 0 && strength <= largest))
    throw kg::Error(fmt::format("ColorJitter: {} is {}, expected 0 to {}", name, strength, largest));
}

void check(const ColorJitter& jitter) {
  constexpr double largest = std::numeric_limits<double>::max();
  check_strength(jitter.brightness, "brightness", largest);
  check_strength(jitter.contrast, "contrast", largest);
  check_strength(jitter.saturation, "saturation", largest);
  check_strength(jitter.hue, "hue", 0.5);
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

void warp_affine(const std::uint8_t* in, std::uint8_t* out, int height, int width,
                 const AffineParameters& parameters, std::uint8_t fill) {
  warp(in, out, height, width, plan_warp(height, width, parameters, fill));
}

void adjust_brightness(std::span<std::uint8_t> pixels, double factor) {
  blend(pixels, plan_blend(PixelOp::Kind::blend_black, factor));
}

void adjust_contrast(std::span<std::uint8_t> pixels, double factor) {
  blend(pixels, plan_blend(PixelOp::Kind::blend_mean, factor));
}

AffineParameters RandomAffine::sample(int height, int width, kg::RandomStream& random) const {
  const auto draw = [&random](const Range& range) { return random.uniform(range.low, range.high); };
  const auto draw_shift = [&random](double largest) {
    return static_cast<int>(std::nearbyint(random.uniform(-largest, largest)));
  };
  AffineParameters parameters;
  parameters.angle = draw(degrees);
  parameters.dx = draw_shift(translate[0] * width);
  parameters.dy = draw_shift(translate[1] * height);
  parameters.scale = draw(scale);
  parameters.shear_x = draw(shear_x);
  parameters.shear_y = draw(shear_y);
  return parameters;
}

void RandomAffine::plan(int height, int width, kg::RandomStream& random, PixelOp* ops) const {
  *ops = plan_warp(height, width, sample(height, width, random), fill);
}

JitterParameters ColorJitter::sample(kg::RandomStream& random) const {
  JitterParameters parameters;
  for (std::uint32_t last = 3; last > 0; --last)
    std::swap(parameters.order[last], parameters.order[random.below(last + 1)]);
  parameters.brightness = jitter_factor(brightness, random);
  parameters.contrast = jitter_factor(contrast, random);
  return parameters;
}

void ColorJitter::plan(int, int, kg::RandomStream& random, PixelOp* ops) const {
  const JitterParameters parameters = sample(random);
  for (const JitterOp op : parameters.order) {
    if (op == JitterOp::brightness) *ops++ = plan_blend(PixelOp::Kind::blend_black, parameters.brightness);
    if (op == JitterOp::contrast) *ops++ = plan_blend(PixelOp::Kind::blend_mean, parameters.contrast);
  }
}

void jitter(std::span<std::uint8_t> pixels, const JitterParameters& parameters) {
  for (const JitterOp op : parameters.order) {
    if (op == JitterOp::brightness) adjust_brightness(pixels, parameters.brightness);
    if (op == JitterOp::contrast) adjust_contrast(pixels, parameters.contrast);
  }
}

Augmentation::Augmentation(std::vector<Transform> transforms) : transforms_(std::move(transforms)) {
  for (const Transform& transform : transforms_) std::visit([](const auto& t) { check(t); }, transform);
}

void Augmentation::apply(Image& image, Image& scratch, kg::RandomStream& random) const {
  const auto apply = [&](const auto& transform) {
    std::array<PixelOp, std::decay_t<decltype(transform)>::op_count> ops;
    transform.plan(image.height, image.width, random, ops.data());
    for (const PixelOp& op : ops) apply_op(op, image, scratch);
  };
  for (const Transform& transform : transforms_) std::visit(apply, transform);
}

int Augmentation::op_count() const {
  int count = 0;
  for (const Transform& transform : transforms_)
    count += std::visit([](const auto& t) { return t.op_count; }, transform);
  return count;
}

void Augmentation::plan(int height, int width, kg::RandomStream& random, PixelOp* ops) const {
  const auto plan = [&](const auto& transform) {
    transform.plan(height, width, random, ops);
    ops += transform.op_count;
  };
  for (const Transform& transform : transforms_) std::visit(plan, transform);
}

Normalize::Normalize(float mean, float std) : mean_(mean), std_(std) {
  if (!(std > 0)) throw kg::Error(fmt::format("Normalize: std is {}, expected a positive number", std));
}

void Normalize::operator()(std::span<const std::uint8_t> pixels, float* out) const {
  // Local copies, because the compiler cannot know that `out` does not overwrite the members.
  const float mean = mean_;
  const float std = std_;
  for (const std::uint8_t pixel : pixels) *out++ = (static_cast<float>(pixel) / 255 - mean) / std;
}

}  // namespace mnist
