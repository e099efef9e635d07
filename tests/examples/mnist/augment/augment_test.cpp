// SPDX-License-Identifier: MIT
#include "augment/augment.h"

#include <array>
#include <cmath>
#include <numbers>
#include <string>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

using Pixels = std::vector<std::uint8_t>;

constexpr std::uint64_t seed = 20;

// The training transforms that the samplers are tested with.
const RandomAffine affine{.degrees = 20, .translate = {0.1, 0.1}, .scale = {0.9, 1.1}};
const ColorJitter color_jitter{.brightness = 0.1, .contrast = 0.2, .saturation = 0.1, .hue = 0.1};

kg::RandomStream stream(std::uint32_t epoch, std::uint32_t image) {
  return kg::RandomStream(seed, kg::RandomPurpose::augmentation, epoch, image);
}

Pixels noise(int height, int width, std::uint32_t sample = 0) {
  kg::RandomStream random(seed, kg::RandomPurpose::user, 0, sample);
  Pixels pixels(static_cast<std::size_t>(height * width));
  for (std::uint8_t& pixel : pixels) pixel = static_cast<std::uint8_t>(random.below(256));
  return pixels;
}

Pixels warp(const Pixels& in, int height, int width, const AffineParameters& parameters,
            std::uint8_t fill = 0, Interpolation interpolation = Interpolation::nearest) {
  Pixels out(in.size());
  warp_affine(in.data(), out.data(), height, width, parameters, fill, interpolation);
  return out;
}

template <std::size_t n>
Pixels after(const std::array<PixelOp, n>& ops, const Pixels& pixels) {
  Image image, scratch;
  image.assign(pixels, 1, static_cast<int>(pixels.size()));
  for (const PixelOp& op : ops) apply_op(op, image, scratch);
  return image.pixels;
}

Pixels brightened(double factor, const Pixels& pixels) {
  return after(std::array{plan_brightness(factor)}, pixels);
}
Pixels contrasted(double factor, const Pixels& pixels) {
  return after(std::array{plan_contrast(factor)}, pixels);
}

std::uint8_t at(const Pixels& pixels, int height, int width, int y, int x, std::uint8_t fill) {
  const bool inside = y >= 0 && y < height && x >= 0 && x < width;
  return inside ? pixels[static_cast<std::size_t>(y * width + x)] : fill;
}

TEST_CASE("warp_affine leaves an image as it is, or shifts it", "[augment]") {
  const auto [height, width] = GENERATE(table<int, int>({{28, 28}, {1, 1}, {31, 7}, {7, 33}}));
  const Pixels in = noise(height, width);
  CHECK(warp(in, height, width, {}) == in);
  CHECK(warp(in, height, width, {.angle = 360}) == in);
  for (const int dx : {-100, -3, 0, 2})
    for (const int dy : {-1, 0, 5, 40000}) {
      const Pixels out = warp(in, height, width, {.dx = dx, .dy = dy}, 9);
      for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
          INFO(dx << ", " << dy << " at " << y << ", " << x);
          REQUIRE(at(out, height, width, y, x, 0) == at(in, height, width, y - dy, x - dx, 9));
        }
    }
}

TEST_CASE("warp_affine turns clockwise about the centre", "[augment]") {
  constexpr int size = 28;
  const Pixels in = noise(size, size);
  const Pixels quarter = warp(in, size, size, {.angle = 90});
  const Pixels half = warp(in, size, size, {.angle = 180});
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      REQUIRE(at(quarter, size, size, x, size - 1 - y, 0) == at(in, size, size, y, x, 0));
      REQUIRE(at(half, size, size, size - 1 - y, size - 1 - x, 0) == at(in, size, size, y, x, 0));
    }
}

TEST_CASE("warp_affine enlarges about the centre", "[augment]") {
  const Pixels in = noise(12, 8);
  const Pixels out = warp(in, 12, 8, {.scale = 2});
  for (int y = 0; y < 12; ++y)
    for (int x = 0; x < 8; ++x) REQUIRE(at(out, 12, 8, y, x, 0) == at(in, 12, 8, 3 + y / 2, 2 + x / 2, 0));
}

// Where torchvision's documentation sends a point: sheared, scaled, turned about the centre, shifted. Applied
// to the source's centre this must give the output's, which tests the closed form of the inverse against the
// forward map.
TEST_CASE("warp_affine shows each pixel where the forward map sends it", "[augment]") {
  constexpr int height = 33, width = 40;
  constexpr double center_x = width / 2.0, center_y = height / 2.0;
  constexpr double degree = std::numbers::pi / 180;
  kg::RandomStream random(seed, kg::RandomPurpose::user, 1);
  int compared = 0;
  for (int trial = 0; trial < 200; ++trial) {
    const AffineParameters p{.angle = random.uniform(-180, 180),
                             .dx = static_cast<int>(random.below(9)) - 4,
                             .dy = static_cast<int>(random.below(9)) - 4,
                             .scale = random.uniform(1.5, 4),
                             .shear_x = random.uniform(-40, 40),
                             .shear_y = random.uniform(-40, 40)};
    const Pixels in = noise(height, width);
    const Pixels out = warp(in, height, width, p);
    for (int v = 0; v < height; ++v)
      for (int u = 0; u < width; ++u) {
        const double x = u + 0.5 - center_x, y = v + 0.5 - center_y;
        const double sheared_x = x - std::tan(p.shear_x * degree) * y;
        const double sheared_y = y - std::tan(p.shear_y * degree) * sheared_x;
        const double cosine = std::cos(p.angle * degree), sine = std::sin(p.angle * degree);
        const double to_x = p.scale * (cosine * sheared_x - sine * sheared_y) + center_x + p.dx;
        const double to_y = p.scale * (sine * sheared_x + cosine * sheared_y) + center_y + p.dy;
        if (to_x < 0 || to_x >= width || to_y < 0 || to_y >= height) continue;
        // Only where the output pixel's centre is so close to the image of the source's that no other pixel
        // is.
        const double distance = std::hypot(std::floor(to_x) + 0.5 - to_x, std::floor(to_y) + 0.5 - to_y);
        if (distance > 0.2) continue;
        ++compared;
        REQUIRE(at(out, height, width, static_cast<int>(to_y), static_cast<int>(to_x), 0) ==
                at(in, height, width, v, u, 0));
      }
  }
  CHECK(compared > 5000);
}

TEST_CASE("bilinear warp_affine leaves an image as it is, or shifts it", "[augment]") {
  const Pixels in = noise(9, 7);
  CHECK(warp(in, 9, 7, {}, 3, Interpolation::bilinear) == in);
  const AffineParameters shift{.dx = -2, .dy = 3};
  CHECK(warp(in, 9, 7, shift, 3, Interpolation::bilinear) == warp(in, 9, 7, shift, 3));
}

// On a plane the mean of four neighbours is the plane itself, wherever between them, but for the rounding
// down to a whole grey.
TEST_CASE("bilinear warp_affine keeps a plane a plane", "[augment]") {
  constexpr int size = 30;
  const auto plane = [](double x, double y) { return 3 * x + 5 * y; };
  Pixels in(size * size);
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x)
      in[static_cast<std::size_t>(y * size + x)] = static_cast<std::uint8_t>(plane(x, y));
  constexpr double angle = 25, scale = 1.3;
  const Pixels out = warp(in, size, size, {.angle = angle, .scale = scale}, 0, Interpolation::bilinear);
  const double cosine = std::cos(angle * std::numbers::pi / 180) / scale;
  const double sine = std::sin(angle * std::numbers::pi / 180) / scale;
  constexpr double centre = (size - 1) / 2.0;
  int compared = 0;
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      const double from_x = cosine * (x - centre) + sine * (y - centre) + centre;
      const double from_y = -sine * (x - centre) + cosine * (y - centre) + centre;
      if (from_x < 0 || from_x > size - 1 || from_y < 0 || from_y > size - 1) continue;
      ++compared;
      const double grey = at(out, size, size, y, x, 0), expected = plane(from_x, from_y);
      REQUIRE(grey <= expected + 1e-9);
      REQUIRE(grey > expected - 1 - 1e-9);
    }
  CHECK(compared > 500);
}

TEST_CASE("warp_affine refuses a scale that is not positive", "[augment]") {
  const Pixels in = noise(2, 2);
  CHECK_THROWS_AS(warp(in, 2, 2, {.scale = 0}), kg::Error);
  CHECK_THROWS_AS(warp(in, 2, 2, {.scale = -1}), kg::Error);
  CHECK_THROWS_AS(warp(in, 2, 2, {.scale = std::nan("")}), kg::Error);
}

TEST_CASE("rotate turns counter-clockwise about the centre", "[augment]") {
  constexpr int size = 9;
  const Pixels in = noise(size, size);
  const auto rotated = [&](double angle) {
    Pixels out(in.size());
    rotate(in.data(), out.data(), size, size, angle, 9);
    return out;
  };
  CHECK(rotated(0) == in);
  CHECK(rotated(-720) == in);
  const Pixels quarter = rotated(90), other_way = rotated(-90), half = rotated(180);
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      REQUIRE(at(quarter, size, size, size - 1 - x, y, 0) == at(in, size, size, y, x, 0));
      REQUIRE(at(other_way, size, size, x, size - 1 - y, 0) == at(in, size, size, y, x, 0));
      REQUIRE(at(half, size, size, size - 1 - y, size - 1 - x, 0) == at(in, size, size, y, x, 0));
    }
  CHECK(rotated(45)[0] == 9);
}

Image image_of(const Pixels& pixels, int height, int width) {
  Image image;
  image.assign(pixels, height, width);
  return image;
}

const Normalize normalize(0.1307f, 0.3081f);

TEST_CASE("rotate_normalized turns what the network sees, and fills with normalised values", "[augment]") {
  constexpr int size = 6;
  const Image image = image_of(noise(size, size), size, size);
  std::vector<float> levels(image.pixels.size()), out(image.pixels.size());
  normalize(image.pixels, levels.data());
  rotate_normalized(image, normalize, 0, 0, out.data());
  CHECK(out == levels);
  rotate_normalized(image, normalize, 90, 0, out.data());
  for (std::size_t y = 0; y < size; ++y)
    for (std::size_t x = 0; x < size; ++x) REQUIRE(out[(size - 1 - x) * size + y] == levels[y * size + x]);
  for (const std::uint8_t fill : {0, 2}) {
    rotate_normalized(image, normalize, 45, fill, out.data());
    for (const std::size_t corner : {0, size - 1, size * (size - 1), size * size - 1})
      CHECK(out[corner] == static_cast<float>(fill));
  }
}

Pixels resized(const Pixels& pixels, int height, int width, const Region& region, const ImageSize& size) {
  Image image = image_of(pixels, height, width), scratch;
  resized_crop(image, scratch, region, size);
  CHECK(image.size() == size);
  return image.pixels;
}

TEST_CASE("resized_crop interpolates where it enlarges, and averages where it shrinks", "[augment]") {
  // The centres of four pixels lie at 0.25, 0.75, 1.25 and 1.75 of two, whose own lie at 0.5 and 1.5.
  CHECK(resized({0, 100}, 1, 2, {0, 0, 1, 2}, {1, 4}) == Pixels{0, 25, 75, 100});
  CHECK(resized({0, 100}, 2, 1, {0, 0, 2, 1}, {4, 1}) == Pixels{0, 25, 75, 100});
  // Four pixels at distances of 0.5, 0.5, 1.5 and 2.5, in a triangle of half-width 2: weights 3, 3, 1 and 0
  // of 7.
  CHECK(resized({0, 70, 140, 210}, 1, 4, {0, 0, 1, 4}, {1, 2}) == Pixels{50, 160});
  CHECK(resized({0, 70, 140, 210}, 4, 1, {0, 0, 4, 1}, {2, 1}) == Pixels{50, 160});
  // Nothing outside of the region counts.
  CHECK(resized({9, 9, 9, 0, 100, 9, 9, 9, 9}, 3, 3, {1, 0, 1, 2}, {1, 4}) == Pixels{0, 25, 75, 100});
  CHECK(resized({9, 9, 9, 0, 100, 9, 9, 9, 9}, 3, 3, {1, 0, 1, 2}, {2, 4}) ==
        Pixels{0, 25, 75, 100, 0, 25, 75, 100});
  CHECK(resized(Pixels(31 * 7, 255), 31, 7, {2, 1, 29, 5}, {5, 33}) == Pixels(5 * 33, 255));
  CHECK(resized({1, 2, 3, 4}, 2, 2, {1, 0, 1, 2}, {1, 2}) == Pixels{3, 4});
}

TEST_CASE("resized_crop refuses a region that is not in the image", "[augment]") {
  const auto refused = [](const Region& region) {
    Image image = image_of(noise(3, 5), 3, 5), scratch;
    CHECK(contains(error_of([&] { resized_crop(image, scratch, region, 4); }), "an image of 3x5"));
  };
  refused({-1, 0, 2, 2});
  refused({0, -1, 2, 2});
  refused({2, 0, 2, 2});
  refused({0, 4, 2, 2});
  refused({0, 0, 0, 2});
  refused({0, 0, 2, 0});
}

TEST_CASE("center_crop takes the middle, or puts the image there", "[augment]") {
  const Pixels numbers = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  const auto cropped = [&](const ImageSize& size) {
    Image image = image_of(numbers, 3, 3), scratch;
    center_crop(image, scratch, size);
    CHECK(image.size() == size);
    return image.pixels;
  };
  CHECK(cropped(3) == numbers);
  CHECK(cropped(1) == Pixels{5});
  CHECK(cropped({1, 2}) == Pixels{4, 5});  // half a pixel: Python rounds to the even number, 0
  CHECK(cropped({1, 5}) == Pixels{0, 4, 5, 6, 0});
  CHECK(cropped({1, 4}) == Pixels{4, 5, 6, 0});
  CHECK(cropped({5, 1}) == Pixels{0, 2, 5, 8, 0});
}

TEST_CASE("brightness multiplies, truncates and clips", "[augment]") {
  CHECK(brightened(1.5, {0, 1, 10, 99, 200, 255}) == Pixels{0, 1, 15, 148, 255, 255});
  CHECK(brightened(0.5, {0, 1, 15, 148, 255, 255}) == Pixels{0, 0, 7, 74, 127, 127});
  CHECK(brightened(0, {0, 7, 127}) == Pixels(3, 0));
}

TEST_CASE("contrast moves grey levels away from their rounded mean", "[augment]") {
  const Pixels original = {0, 100, 101, 201};  // mean 100.5, rounded 101
  CHECK(contrasted(0, original) == Pixels(4, 101));
  CHECK(contrasted(1, original) == original);
  CHECK(contrasted(0.5, original) == Pixels{50, 100, 101, 151});
  CHECK(contrasted(2, original) == Pixels{0, 99, 101, 255});
}

TEST_CASE("jitter follows its order", "[augment]") {
  JitterParameters parameters{.brightness = 2, .contrast = 0};
  // Clipped to 255 first: the mean is 127.5.
  CHECK(after(plan_jitter(parameters), {0, 200}) == Pixels{128, 128});
  std::swap(parameters.order[0], parameters.order[3]);
  CHECK(after(plan_jitter(parameters), {0, 200}) == Pixels{200, 200});
}

// A histogram of draws against its expected counts: chi-squared per degree of freedom, near 1 when they
// agree.
double chi_squared(const std::vector<int>& counts, const std::vector<double>& probabilities) {
  int total = 0;
  for (const int count : counts) total += count;
  double sum = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double expected = probabilities[i] * total;
    sum += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  return sum / static_cast<double>(counts.size() - 1);
}

// Uniformity over [low, high) in 20 bins, for one draw per image.
template <typename Draw>
void check_uniform(const std::string& name, double low, double high, Draw draw) {
  constexpr int draws = 60000, bins = 20;
  std::vector<int> counts(bins);
  double sum = 0;
  for (std::uint32_t i = 0; i < draws; ++i) {
    const double value = draw(i);
    REQUIRE(value >= low);
    REQUIRE(value < high);
    ++counts[static_cast<std::size_t>((value - low) / (high - low) * bins)];
    sum += value;
  }
  INFO(name);
  // Five standard deviations of the mean of so many uniform draws.
  CHECK(std::fabs(sum / draws - (low + high) / 2) < 5 * (high - low) / std::sqrt(12.0 * draws));
  CHECK(chi_squared(counts, std::vector<double>(bins, 1.0 / bins)) < 2.2);
}

TEST_CASE("RandomAffine draws angle, scale and shear uniformly", "[augment]") {
  const RandomAffine sheared{.degrees = {-5, 15}, .scale = {0.9, 1.1}, .shear_x = 10, .shear_y = {-3, 1}};
  const auto sample = [&](const RandomAffine& transform, std::uint32_t image) {
    kg::RandomStream random = stream(0, image);
    return transform.sample(28, 28, random);
  };
  check_uniform("degrees", -20, 20, [&](auto i) { return sample(affine, i).angle; });
  check_uniform("asymmetric degrees", -5, 15, [&](auto i) { return sample(sheared, i).angle; });
  check_uniform("scale", 0.9, 1.1, [&](auto i) { return sample(affine, i).scale; });
  check_uniform("shear x", -10, 10, [&](auto i) { return sample(sheared, i).shear_x; });
  check_uniform("shear y", -3, 1, [&](auto i) { return sample(sheared, i).shear_y; });
  CHECK(sample(affine, 0).shear_x == 0);
  CHECK(sample(affine, 0).shear_y == 0);
}

TEST_CASE("RandomAffine rounds uniform shifts to whole pixels", "[augment]") {
  // Round(U(-2.8, 2.8)) on the width, and round(U(-4, 4)) on the height: the outermost values are rarer.
  const RandomAffine transform{.translate = {0.1, 0.2}};
  const std::vector<double> expected_dx = {.3 / 5.6, 1 / 5.6, 1 / 5.6, 1 / 5.6, 1 / 5.6, 1 / 5.6, .3 / 5.6};
  const std::vector<double> expected_dy = {.5 / 8, 1 / 8., 1 / 8., 1 / 8., 1 / 8.,
                                           1 / 8., 1 / 8., 1 / 8., .5 / 8};
  std::vector<int> dx(7), dy(9);
  for (std::uint32_t image = 0; image < 60000; ++image) {
    kg::RandomStream random = stream(1, image);
    const AffineParameters parameters = transform.sample(20, 28, random);
    ++dx.at(static_cast<std::size_t>(parameters.dx + 3));
    ++dy.at(static_cast<std::size_t>(parameters.dy + 4));
  }
  CHECK(chi_squared(dx, expected_dx) < 3.5);
  CHECK(chi_squared(dy, expected_dy) < 3.5);
}

TEST_CASE("RandomAffine draws its parameters independently of each other", "[augment]") {
  double correlations[6] = {};
  constexpr int draws = 60000;
  for (std::uint32_t image = 0; image < draws; ++image) {
    kg::RandomStream random = stream(2, image);
    const AffineParameters p = affine.sample(28, 28, random);
    const double angle = p.angle / 20, dx = p.dx / 2.8, dy = p.dy / 2.8, scale = (p.scale - 1) / 0.1;
    const double products[] = {angle * dx, angle * dy, angle * scale, dx * dy, dx * scale, dy * scale};
    for (int i = 0; i < 6; ++i) correlations[i] += products[i] / draws;
  }
  // A product of two of them has a variance of about 1/9.
  for (const double correlation : correlations) CHECK(std::fabs(correlation) < 5 / std::sqrt(9.0 * draws));
}

TEST_CASE("ColorJitter draws factors uniformly and every order equally often", "[augment]") {
  const auto sample = [](const ColorJitter& transform, std::uint32_t image) {
    kg::RandomStream random = stream(3, image);
    return transform.sample(random);
  };
  check_uniform("brightness", 0.9, 1.1, [&](auto i) { return sample(color_jitter, i).brightness; });
  check_uniform("contrast", 0.8, 1.2, [&](auto i) { return sample(color_jitter, i).contrast; });
  check_uniform("a strength above 1", 0, 3, [&](auto i) { return sample({.brightness = 2}, i).brightness; });
  CHECK(sample({}, 0).brightness == 1);
  CHECK(sample({}, 0).contrast == 1);

  std::vector<int> orders(256);
  for (std::uint32_t image = 0; image < 60000; ++image) {
    unsigned code = 0;
    for (const JitterOp op : sample(color_jitter, image).order) code = code * 4 + static_cast<unsigned>(op);
    ++orders[code];
  }
  std::erase(orders, 0);
  REQUIRE(orders.size() == 24);
  CHECK(chi_squared(orders, std::vector<double>(24, 1.0 / 24)) < 2.2);
}

TEST_CASE("RandomRotation draws an angle uniformly", "[augment]") {
  const RandomRotation rotation{.degrees = {-7, 3}};
  check_uniform("degrees", -7, 3, [&](auto i) {
    kg::RandomStream random = stream(8, i);
    return rotation.sample(random);
  });
}

TEST_CASE("RandomResizedCrop draws area, ratio and corner uniformly", "[augment]") {
  constexpr int size = 10000;  // so large that rounding edges to pixels does not matter
  const RandomResizedCrop crop{.size = 28, .scale = {0.2, 0.5}, .ratio = {1 / 1.9, 1.9}};  // edges up to 9747
  const auto sample = [&](std::uint32_t image) {
    kg::RandomStream random = stream(9, image);
    return crop.sample(size, size, random);
  };
  const auto area = [](const Region& r) { return static_cast<double>(r.height) * r.width / (size * size); };
  const auto log_ratio = [](const Region& r) { return std::log(static_cast<double>(r.width) / r.height); };
  const double largest = std::log(1.9), area_slack = 1e-4, ratio_slack = 5e-4;  // by rounded edges
  check_uniform("area", 0.2 - area_slack, 0.5 + area_slack, [&](auto i) { return area(sample(i)); });
  check_uniform("ratio", -largest - ratio_slack, largest + ratio_slack,
                [&](auto i) { return log_ratio(sample(i)); });
  check_uniform("top", 0, 1, [&](auto i) { return (sample(i).top + 0.5) / (size - sample(i).height + 1); });
  check_uniform("left", 0, 1, [&](auto i) { return (sample(i).left + 0.5) / (size - sample(i).width + 1); });
}

TEST_CASE("RandomResizedCrop takes the largest region in the middle where none fits", "[augment]") {
  const auto sample = [](int height, int width, const RandomResizedCrop& crop) {
    kg::RandomStream random = stream(10, 0);
    const Region region = crop.sample(height, width, random);
    return std::array{region.top, region.left, region.height, region.width};
  };
  const RandomResizedCrop all{.size = 28, .scale = {1, 1}, .ratio = {0.5, 2}};
  CHECK(sample(10, 60, all) == std::array{0, 20, 10, 20});
  CHECK(sample(61, 10, all) == std::array{20, 0, 20, 10});
  CHECK(sample(28, 28, {.size = 28, .scale = {3, 4}}) == std::array{0, 0, 28, 28});
  CHECK(sample(28, 28, {.size = 28, .scale = {1e300, 1e300}}) == std::array{0, 0, 28, 28});
  CHECK(sample(28, 28, {.size = 28, .scale = {1e-300, 1e-300}}) == std::array{0, 0, 28, 28});
}

TEST_CASE("RandomApply applies all of its transforms or none", "[augment]") {
  constexpr int images = 20000;
  const RandomApply sometimes{.p = 0.3, .transforms = {CenterCrop{.size = {4, 9}}, Resize{.size = 5}}};
  const auto applied = [](const RandomApply& apply) {
    int count = 0;
    for (std::uint32_t index = 0; index < images; ++index) {
      Image image = image_of(noise(6, 7), 6, 7), scratch;
      kg::RandomStream random = stream(11, index);
      Augmentation({apply}).apply(image, scratch, random);
      if (image.size() == ImageSize{5}) {
        ++count;
      } else {
        REQUIRE(image.size() == ImageSize{6, 7});
        REQUIRE(image.pixels == noise(6, 7));
      }
    }
    return count;
  };
  // Five standard deviations.
  CHECK(std::abs(applied(sometimes) - 0.3 * images) < 5 * std::sqrt(0.3 * 0.7 * images));
  CHECK(applied({.p = 0, .transforms = sometimes.transforms}) == 0);
  CHECK(applied({.p = 1, .transforms = sometimes.transforms}) == images);
}

TEST_CASE("Augmentation knows what images come to", "[augment]") {
  const RandomApply cropped{.p = 0.1, .transforms = {CenterCrop{.size = 24}}};
  CHECK(Augmentation().output_size({28, 30}) == ImageSize{28, 30});
  CHECK(Augmentation({cropped, Resize{.size = {5, 6}}}).output_size(28) == ImageSize{5, 6});
  CHECK(Augmentation({cropped}).output_size(24) == ImageSize{24});
  CHECK(Augmentation({RandomApply{.p = 1, .transforms = {CenterCrop{.size = 24}}}}).output_size(28) ==
        ImageSize{24});
  CHECK(Augmentation({RandomResizedCrop{.size = {3, 4}}, affine, color_jitter}).output_size(28) ==
        ImageSize{3, 4});
  CHECK(contains(error_of([&] {
                   Augmentation({cropped}).output_size({28, 30});
                 }),
                 "a 28x30 image becomes 24x24 or 28x30"));

  const auto pixels = [](std::vector<Transform> transforms) {
    return Augmentation(std::move(transforms)).workspace({31, 5}).pixels;
  };
  CHECK(pixels({}) == 31 * 5);
  CHECK(pixels({CenterCrop{.size = {40, 6}}, CenterCrop{.size = 2}}) == 40 * 6);
  CHECK(pixels({Resize{.size = {3, 20}}}) == 31 * 20);  // columns first
  CHECK(pixels({RandomApply{.transforms = {CenterCrop{.size = {50, 2}}}}, Resize{.size = {3, 20}}}) ==
        50 * 20);
}

Pixels augmented(const Augmentation& augmentation, std::uint32_t epoch, std::uint32_t index, Image& image,
                 Image& scratch) {
  image.assign(noise(28, 28, index), 28, 28);
  kg::RandomStream random = stream(epoch, index);
  augmentation.apply(image, scratch, random);
  return image.pixels;
}

TEST_CASE("an augmented image depends on seed, epoch and index alone", "[augment]") {
  const Augmentation augmentation({affine, color_jitter});
  constexpr std::uint32_t images = 64;
  std::vector<Pixels> alone;
  for (std::uint32_t index = 0; index < images; ++index) {
    Image image, scratch;
    alone.push_back(augmented(augmentation, 4, index, image, scratch));
  }

  Image image, scratch;
  scratch.assign(Pixels(41 * 17, 77), 41, 17);  // what a worker's buffers held before must not matter
  for (std::uint32_t index = images; index-- > 0;)
    CHECK(augmented(augmentation, 4, index, image, scratch) == alone[index]);

  CHECK(augmented(augmentation, 5, 0, image, scratch) != alone[0]);
  image.assign(noise(28, 28, 0), 28, 28);
  kg::RandomStream other_image = stream(4, 1);
  augmentation.apply(image, scratch, other_image);
  CHECK(image.pixels != alone[0]);
}

TEST_CASE("Augmentation does what its transforms sample", "[augment]") {
  constexpr int height = 31, width = 28;
  Image image, scratch;
  for (std::uint32_t index = 0; index < 20; ++index) {
    const Pixels original = noise(height, width, index);
    kg::RandomStream random = stream(7, index);
    image.assign(original, height, width);
    Augmentation({affine, color_jitter}).apply(image, scratch, random);

    kg::RandomStream again = stream(7, index);
    const Pixels warped = warp(original, height, width, affine.sample(height, width, again));
    const Pixels expected = after(plan_jitter(color_jitter.sample(again)), warped);
    CHECK(image.height == height);
    CHECK(image.width == width);
    CHECK(image.pixels == expected);
  }
}

TEST_CASE("Augmentation carries sizes from one transform to the next", "[augment]") {
  const RandomResizedCrop crop{.size = {20, 24}, .scale = {0.3, 1}};
  const RandomRotation rotation{.degrees = 30, .fill = 5};
  const RandomRotation after{.degrees = {40, 50}};
  const Augmentation augmentation({CenterCrop{.size = {40, 22}}, crop, rotation, Resize{.size = {9, 33}},
                                   RandomApply{.p = 1, .transforms = {affine}}},
                                  {.after_normalize = after});
  for (std::uint32_t index = 0; index < 20; ++index) {
    Image image = image_of(noise(31, 28, index), 31, 28), scratch;
    std::vector<float> values(9 * 33), expected_values(9 * 33);
    kg::RandomStream random = stream(12, index);
    augmentation.apply(image, scratch, random, normalize, values.data());

    Image expected = image_of(noise(31, 28, index), 31, 28);
    kg::RandomStream again = stream(12, index);
    center_crop(expected, scratch, {40, 22});
    resized_crop(expected, scratch, crop.sample(40, 22, again), {20, 24});
    const Pixels before = expected.pixels;
    rotate(before.data(), expected.pixels.data(), 20, 24, rotation.sample(again), 5);
    resized_crop(expected, scratch, {0, 0, 20, 24}, {9, 33});
    again.uniform();  // RandomApply's
    expected.pixels = warp(expected.pixels, 9, 33, affine.sample(9, 33, again));
    CHECK(image.pixels == expected.pixels);
    rotate_normalized(expected, normalize, after.sample(again), 0, expected_values.data());
    CHECK(values == expected_values);
  }
}

TEST_CASE("Augmentation applies its transforms in their order", "[augment]") {
  const RandomAffine away{.translate = {1, 1}, .scale = {1e-3, 1e-3}, .fill = 100};  // only fill remains
  const ColorJitter brighter{.brightness = 1};
  Image image, scratch;
  const auto first_pixel = [&](std::vector<Transform> transforms) {
    image.assign(Pixels(28 * 28, 50), 28, 28);
    kg::RandomStream random = stream(6, 0);
    Augmentation(std::move(transforms)).apply(image, scratch, random);
    return image.pixels[0];
  };
  CHECK(first_pixel({brighter, away}) == 100);
  CHECK(first_pixel({away, brighter}) != 100);
  CHECK(first_pixel({}) == 50);
}

TEST_CASE("Augmentation refuses arguments that torchvision refuses", "[augment]") {
  const auto refused = [](Transform transform, const std::string& name) {
    try {
      Augmentation augmentation({std::move(transform)});
    } catch (const kg::Error& error) {
      INFO(error.what());
      CHECK(std::string(error.what()).find(name) != std::string::npos);
      return;
    }
    FAIL_CHECK(name << " was accepted");
  };
  const double nan = std::nan("");
  refused(RandomAffine{.degrees = {5, -5}}, "degrees is [5, -5]");
  refused(RandomAffine{.degrees = nan}, "degrees");
  refused(RandomAffine{.translate = {-0.1, 0}}, "translate is [-0.1, 0]");
  refused(RandomAffine{.translate = {0, 1.1}}, "translate");
  refused(RandomAffine{.scale = {0, 1}}, "scale is [0, 1]");
  refused(RandomAffine{.scale = {1.1, 0.9}}, "scale");
  refused(RandomAffine{.shear_x = 90}, "shear_x");
  refused(RandomAffine{.shear_y = {-91, 0}}, "shear_y");
  refused(RandomRotation{.degrees = {1, 0}}, "RandomRotation: degrees is [1, 0]");
  refused(RandomResizedCrop{.size = 0}, "RandomResizedCrop: size is 0x0");
  refused(RandomResizedCrop{.size = 28, .scale = {0, 1}}, "scale is [0, 1]");
  refused(RandomResizedCrop{.size = 28, .ratio = {2, 1}}, "ratio is [2, 1]");
  refused(Resize{.size = {5, -1}}, "Resize: size is 5x-1");
  refused(CenterCrop{.size = {0, 5}}, "CenterCrop: size is 0x5");
  refused(RandomApply{.p = 1.1}, "RandomApply: p is 1.1");
  refused(RandomApply{.p = nan}, "RandomApply: p is");
  refused(RandomApply{.transforms = {Resize{.size = 0}}}, "Resize: size is 0x0");
  CHECK_THROWS_AS(Augmentation({}, {.after_normalize = RandomRotation{.degrees = nan}}), kg::Error);
  refused(ColorJitter{.brightness = -0.1}, "brightness is -0.1");
  refused(ColorJitter{.contrast = nan}, "contrast");
  refused(ColorJitter{.saturation = -1}, "saturation");
  refused(ColorJitter{.hue = 0.6}, "hue is 0.6, expected 0 to 0.5");
}

TEST_CASE("Image refuses pixels that do not fill it", "[augment]") {
  Image image;
  CHECK_THROWS_AS(image.assign(Pixels(5), 2, 3), kg::Error);
}

TEST_CASE("Normalize is (x / 255 - mean) / std in float32", "[augment]") {
  const float mean = 0.1307f, std = 0.3081f;
  const Pixels ramp = [] {
    Pixels pixels;
    for (int i = 0; i < 256; ++i) pixels.push_back(static_cast<std::uint8_t>(i));
    return pixels;
  }();
  std::vector<float> out(256);
  Normalize(mean, std)(ramp, out.data());
  for (int i = 0; i < 256; ++i) {
    const double exact = (i / 255.0 - 0.1307) / 0.3081;
    CHECK(std::fabs(out[static_cast<std::size_t>(i)] - exact) < 3e-7);
  }
  // The same bits as torch 1.13.
  CHECK(out[0] == -0x1.b264e2p-2f);
  CHECK(out[128] == 0x1.347af4p+0f);
  CHECK(out[255] == 0x1.69267ap+1f);
  CHECK_THROWS_AS(Normalize(0, 0), kg::Error);
}

}  // namespace
}  // namespace mnist
