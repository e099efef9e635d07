// SPDX-License-Identifier: MIT
#include "augment/augment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernelgrad/error.h"

namespace mnist {
namespace {

double jitter_factor(double strength, kg::RandomStream& random) {
  return random.uniform(std::max(0.0, 1 - strength), 1 + strength);
}

int rounded(double value) { return static_cast<int>(std::nearbyint(value)); }
bool is_edge(double length, int largest) { return length >= 1 && length <= largest; }

// The largest region in the middle whose ratio is in range; the whole image if its own is.
Region largest_region(int height, int width, const Range& ratio) {
  const double own = static_cast<double>(width) / height;
  Region region{0, 0, height, width};
  if (own < ratio.low) region.height = rounded(width / ratio.low);
  if (own > ratio.high) region.width = rounded(height * ratio.high);
  region.top = (height - region.height) / 2;
  region.left = (width - region.width) / 2;
  return region;
}

// What a new kind of transform needs: check() of its arguments, op_count_of() unless it is one operation,
// plan(), and extend() if it changes an image's size.

constexpr double infinity = std::numeric_limits<double>::infinity();

void check_range(const char* transform, const Range& range, const char* name, double low, double high) {
  if (!(range.low > low && range.low <= range.high && range.high < high))
    throw kg::Error(fmt::format("{}: {} is [{}, {}], expected low <= high, both between {} and {}", transform,
                                name, range.low, range.high, low, high));
}

void check_size(const char* transform, const ImageSize& size) {
  if (size.height < 1 || size.width < 1)
    throw kg::Error(
        fmt::format("{}: size is {}x{}, expected at least 1x1", transform, size.height, size.width));
}

void check(const RandomAffine& affine) {
  check_range("RandomAffine", affine.degrees, "degrees", -infinity, infinity);
  check_range("RandomAffine", affine.scale, "scale", 0, infinity);
  check_range("RandomAffine", affine.shear_x, "shear_x", -90, 90);
  check_range("RandomAffine", affine.shear_y, "shear_y", -90, 90);
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

void check(const RandomRotation& rotation) {
  check_range("RandomRotation", rotation.degrees, "degrees", -infinity, infinity);
}

void check(const RandomResizedCrop& crop) {
  check_size("RandomResizedCrop", crop.size);
  check_range("RandomResizedCrop", crop.scale, "scale", 0, infinity);
  check_range("RandomResizedCrop", crop.ratio, "ratio", 0, infinity);
}

void check(const Resize& resize) { check_size("Resize", resize.size); }
void check(const CenterCrop& crop) { check_size("CenterCrop", crop.size); }

void check(const Transform& transform);
void check(const RandomApply& apply) {
  if (!(apply.p >= 0 && apply.p <= 1))
    throw kg::Error(fmt::format("RandomApply: p is {}, expected a probability", apply.p));
  for (const Transform& transform : apply.transforms) check(transform);
}

void check(const Transform& transform) {
  std::visit([](const auto& t) { check(t); }, transform);
}

// How many operations a transform comes to.
int op_count(const Transform& transform);
template <class T>
int op_count_of(const T&) {
  return 1;
}
int op_count_of(const ColorJitter&) { return 2; }
int op_count_of(const RandomApply& apply) {
  int count = 0;
  for (const Transform& transform : apply.transforms) count += op_count(transform);
  return count;
}
int op_count(const Transform& transform) {
  return std::visit([](const auto& t) { return op_count_of(t); }, transform);
}

// plan() draws for an image of `size`, writes down the operations, op_count() of them, and sets `size` to
// what comes of the image.
void plan(const RandomAffine& affine, ImageSize& size, kg::RandomStream& random, PixelOp* ops) {
  *ops = plan_affine(size, affine.sample(size.height, size.width, random), affine.fill, affine.interpolation);
}

void plan(const RandomRotation& rotation, ImageSize& size, kg::RandomStream& random, PixelOp* ops) {
  *ops = plan_rotation(size, rotation.sample(random), rotation.fill);
}

void plan(const RandomResizedCrop& crop, ImageSize& size, kg::RandomStream& random, PixelOp* ops) {
  *ops = plan_resized_crop(size, crop.sample(size.height, size.width, random), crop.size);
  size = crop.size;
}

void plan(const Resize& resize, ImageSize& size, kg::RandomStream&, PixelOp* ops) {
  *ops = plan_resized_crop(size, {0, 0, size.height, size.width}, resize.size);
  size = resize.size;
}

void plan(const CenterCrop& crop, ImageSize& size, kg::RandomStream&, PixelOp* ops) {
  *ops = plan_center_crop(size, crop.size);
  size = crop.size;
}

void plan(const ColorJitter& jitter, ImageSize&, kg::RandomStream& random, PixelOp* ops) {
  std::ranges::copy(plan_jitter(jitter.sample(random)), ops);
}

void plan(const Transform& transform, ImageSize& size, kg::RandomStream& random, PixelOp* ops);
void plan(const RandomApply& apply, ImageSize& size, kg::RandomStream& random, PixelOp* ops) {
  const bool happens = random.uniform() < apply.p;
  for (const Transform& transform : apply.transforms) {
    const int count = op_count(transform);
    if (happens)
      plan(transform, size, random, ops);
    else
      std::fill_n(ops, count, PixelOp{.kind = PixelOp::Kind::keep, .factor = 0, .fill = 0, .region = {}});
    ops += count;
  }
}

void plan(const Transform& transform, ImageSize& size, kg::RandomStream& random, PixelOp* ops) {
  std::visit([&](const auto& t) { plan(t, size, random, ops); }, transform);
}

// What images may come to on their way: the sizes that chance can give them, and the most that they took.
struct Reach {
  std::vector<ImageSize> sizes;
  Workspace workspace;

  void to(const ImageSize& size) {
    sizes = {size};
    take({.pixels = std::int64_t{size.height} * size.width});
  }
  void take(const Workspace& more) {
    workspace.pixels = std::max(workspace.pixels, more.pixels);
    workspace.tap_integers = std::max(workspace.tap_integers, more.tap_integers);
  }
};

// The whole image takes at least as much as any part of it.
void reach_by_resize(Reach& reach, const ImageSize& to) {
  for (const ImageSize& from : reach.sizes) reach.take(resize_workspace(from, to));
  reach.to(to);
}

template <class T>
void extend(Reach&, const T&) {}
void extend(Reach& reach, const RandomResizedCrop& crop) { reach_by_resize(reach, crop.size); }
void extend(Reach& reach, const Resize& resize) { reach_by_resize(reach, resize.size); }
void extend(Reach& reach, const CenterCrop& crop) { reach.to(crop.size); }
void extend(Reach& reach, const Transform& transform);
void extend(Reach& reach, const RandomApply& apply) {
  const std::vector<ImageSize> without = reach.sizes;
  for (const Transform& transform : apply.transforms) extend(reach, transform);
  if (apply.p == 1) return;
  for (const ImageSize& size : without)
    if (std::find(reach.sizes.begin(), reach.sizes.end(), size) == reach.sizes.end())
      reach.sizes.push_back(size);
}
void extend(Reach& reach, const Transform& transform) {
  std::visit([&](const auto& t) { extend(reach, t); }, transform);
}

// Whether the channels of an image can be transformed one by one.
bool takes_colour(const Transform& transform) {
  if (const auto* jitter = std::get_if<ColorJitter>(&transform))
    return jitter->contrast == 0 && jitter->saturation == 0 && jitter->hue == 0;
  if (const auto* apply = std::get_if<RandomApply>(&transform))
    return std::ranges::all_of(apply->transforms, takes_colour);
  return true;
}

Reach reach_of(const std::vector<Transform>& transforms, const ImageSize& input) {
  Reach reach;
  reach.to(input);
  for (const Transform& transform : transforms) extend(reach, transform);
  return reach;
}

}  // namespace

AffineParameters RandomAffine::sample(int height, int width, kg::RandomStream& random) const {
  const auto draw = [&random](const Range& range) { return random.uniform(range.low, range.high); };
  const auto draw_shift = [&random](double largest) { return rounded(random.uniform(-largest, largest)); };
  AffineParameters parameters;
  parameters.angle = draw(degrees);
  parameters.dx = draw_shift(translate[0] * width);
  parameters.dy = draw_shift(translate[1] * height);
  parameters.scale = draw(scale);
  parameters.shear_x = draw(shear_x);
  parameters.shear_y = draw(shear_y);
  return parameters;
}

double RandomRotation::sample(kg::RandomStream& random) const {
  return random.uniform(degrees.low, degrees.high);
}

Region RandomResizedCrop::sample(int height, int width, kg::RandomStream& random) const {
  for (int i = 0; i < 10; ++i) {
    const double area = random.uniform(scale.low, scale.high) * height * width;
    const double shape = std::exp(random.uniform(std::log(ratio.low), std::log(ratio.high)));
    const double rounded_width = std::nearbyint(std::sqrt(area * shape));
    const double rounded_height = std::nearbyint(std::sqrt(area / shape));
    if (!is_edge(rounded_width, width) || !is_edge(rounded_height, height)) continue;
    const int w = static_cast<int>(rounded_width), h = static_cast<int>(rounded_height);
    const auto top = static_cast<int>(random.below(static_cast<std::uint32_t>(height - h + 1)));
    const auto left = static_cast<int>(random.below(static_cast<std::uint32_t>(width - w + 1)));
    return {top, left, h, w};
  }
  return largest_region(height, width, ratio);
}

JitterParameters ColorJitter::sample(kg::RandomStream& random) const {
  JitterParameters parameters;
  for (std::uint32_t last = 3; last > 0; --last)
    std::swap(parameters.order[last], parameters.order[random.below(last + 1)]);
  parameters.brightness = jitter_factor(brightness, random);
  parameters.contrast = jitter_factor(contrast, random);
  return parameters;
}

std::array<PixelOp, 2> plan_jitter(const JitterParameters& parameters) {
  const PixelOp brightness = plan_brightness(parameters.brightness),
                contrast = plan_contrast(parameters.contrast);
  const auto place = [&](JitterOp op) { return std::ranges::find(parameters.order, op); };
  if (place(JitterOp::brightness) < place(JitterOp::contrast)) return {brightness, contrast};
  return {contrast, brightness};
}

Augmentation::Augmentation(std::vector<Transform> transforms, AugmentationOptions options)
    : transforms_(std::move(transforms)), options_(options), op_count_(0) {
  for (const Transform& transform : transforms_) {
    check(transform);
    op_count_ += mnist::op_count(transform);
  }
  if (options_.after_normalize) {
    check(*options_.after_normalize);
    ++op_count_;
  }
}

ImageSize Augmentation::output_size(const ImageSize& input) const {
  const std::vector<ImageSize> sizes = reach_of(transforms_, input).sizes;
  if (sizes.size() > 1)
    throw kg::Error(fmt::format(
        "Augmentation: a {}x{} image becomes {}x{} or {}x{}, as chance has it; expected one "
        "size: RandomApply needs a Resize after it",
        input.height, input.width, sizes[0].height, sizes[0].width, sizes[1].height, sizes[1].width));
  return sizes.front();
}

Workspace Augmentation::workspace(const ImageSize& input) const {
  return reach_of(transforms_, input).workspace;
}

void Augmentation::plan(const ImageSize& input, kg::RandomStream& random, PixelOp* ops) const {
  ImageSize size = input;
  for (const Transform& transform : transforms_) {
    mnist::plan(transform, size, random, ops);
    ops += mnist::op_count(transform);
  }
  if (options_.after_normalize)
    *ops = plan_normalized_rotation(size, options_.after_normalize->sample(random),
                                    options_.after_normalize->fill);
}

// The operations stay valid until the thread's next call.
std::span<const PixelOp> Augmentation::plan_and_apply(Image& image, Image& scratch,
                                                      kg::RandomStream& random) const {
  thread_local std::vector<PixelOp> ops;
  ops.resize(static_cast<std::size_t>(op_count_));
  plan(image.size(), random, ops.data());
  for (const PixelOp& op : ops) apply_op(op, image, scratch);
  return ops;
}

void Augmentation::apply(Image& image, Image& scratch, kg::RandomStream& random) const {
  plan_and_apply(image, scratch, random);
}

void Augmentation::apply(Image& image, Image& scratch, kg::RandomStream& random, const Normalize& normalize,
                         float* out) const {
  finish(plan_and_apply(image, scratch, random), image, normalize, out);
}

void Augmentation::carry_out(std::span<const PixelOp> ops, Image& image, Image& scratch,
                             const Normalize& normalize, float* out) const {
  for (const PixelOp& op : ops) apply_op(op, image, scratch);
  finish(ops, image, normalize, out);
}

void Augmentation::finish(std::span<const PixelOp> ops, const Image& image, const Normalize& normalize,
                          float* out) const {
  if (options_.after_normalize)
    apply_normalized(ops.back(), image, normalize, out);
  else
    normalize(image.pixels, out);
}

bool Augmentation::takes_colour() const { return std::ranges::all_of(transforms_, mnist::takes_colour); }

}  // namespace mnist
