// SPDX-License-Identifier: MIT
#include "predict/digit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <numeric>
#include <string>
#include <vector>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/error.h"
#include "kernelgrad/random.h"

namespace mnist {
namespace {

GreyImage constant_image(int width, int height, uint8_t value) {
  return {width, height, Bytes(static_cast<size_t>(width) * static_cast<size_t>(height), value)};
}

uint8_t pixel(const GreyImage& image, int x, int y) {
  return image.pixels[static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)];
}

/// A smooth ring on black, as wide and high as `size`: something like a written 0.
GreyImage ring(int size) {
  GreyImage image = constant_image(size, size, 0);
  for (int y = 0; y < size; ++y) {
    for (int x = 0; x < size; ++x) {
      const double dx = (x + 0.5) / size - 0.5, dy = (y + 0.5) / size - 0.5;
      const double distance = (std::hypot(1.4 * dx, dy) - 0.3) / 0.09;
      image.pixels[static_cast<size_t>(y * size + x)] =
          static_cast<uint8_t>(std::lround(255 * std::exp(-distance * distance)));
    }
  }
  return image;
}

double mean_difference(const GreyImage& a, const GreyImage& b) {
  REQUIRE(a.pixels.size() == b.pixels.size());
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

struct Point {
  double x, y;
};

/// Lines in a box of height 1, as a pen draws them.
using Glyph = std::vector<std::vector<Point>>;

const Glyph seven = {{{0, 0}, {0.65, 0}, {0.25, 1}}};
const Glyph four = {{{0.1, 0}, {0, 0.6}, {0.7, 0.6}}, {{0.55, 0.1}, {0.5, 1}}};
const Glyph two = {{{0, 0.2}, {0.15, 0.02}, {0.45, 0}, {0.6, 0.2}, {0.5, 0.45}, {0, 1}, {0.65, 0.97}}};
const Glyph one = {{{0.1, 0}, {0, 1}}};
const Glyph zero = {
    {{0.3, 0}, {0.05, 0.3}, {0, 0.6}, {0.2, 1}, {0.5, 0.9}, {0.6, 0.5}, {0.5, 0.1}, {0.3, 0}}};

double distance(const Point& p, const Point& a, const Point& b) {
  const double dx = b.x - a.x, dy = b.y - a.y;
  const double along = std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / (dx * dx + dy * dy), 0.0, 1.0);
  return std::hypot(p.x - a.x - along * dx, p.y - a.y - along * dy);
}

/// How much of a pixel at p, of that size, the pen has covered.
double ink_at(const Glyph& glyph, const Point& p, double pen, double pixel) {
  double nearest = 10;
  for (const auto& line : glyph)
    for (size_t i = 0; i + 1 < line.size(); ++i)
      nearest = std::min(nearest, distance(p, line[i], line[i + 1]));
  return std::clamp((pen / 2 - nearest) / pixel + 0.5, 0.0, 1.0);
}

constexpr double usual_pen = 0.12;

/// What MNIST would have made of it.
GreyImage expected_form(const Glyph& glyph) {
  const double pixel = (1 + usual_pen) / 20;
  constexpr int finer = 8;
  const auto coverage = [&](double x, double y) {
    double sum = 0;
    for (int i = 0; i < finer; ++i)
      for (int j = 0; j < finer; ++j) {
        const Point p = {(x + (j + 0.5) / finer) * pixel - usual_pen / 2,
                         (y + (i + 0.5) / finer) * pixel - usual_pen / 2};
        sum += ink_at(glyph, p, usual_pen, pixel / finer);
      }
    return sum / (finer * finer);
  };
  double mass = 0, sum_x = 0, sum_y = 0;
  for (int y = 0; y < 20; ++y)
    for (int x = 0; x < 20; ++x) {
      const double ink = coverage(x, y);
      mass += ink, sum_x += ink * x, sum_y += ink * y;
    }
  const double left = std::lround(14 - sum_x / mass), top = std::lround(14 - sum_y / mass);
  GreyImage form = constant_image(28, 28, 0);
  for (int y = 0; y < 28; ++y)
    for (int x = 0; x < 28; ++x)
      form.pixels[static_cast<size_t>(y * 28 + x)] =
          static_cast<uint8_t>(std::lround(255 * coverage(x - left, y - top)));
  return form;
}

using Colour = std::array<double, 3>;

struct Page {
  int width = 280, height = 280;
  double size = 180, left = 70, top = 50;  // of the box, in pixels
  double pen = usual_pen;
  Colour paper = {255, 255, 255}, ink = {20, 20, 20};
  std::function<double(double, double)> light = [](double, double) { return 1.0; };  // by place from 0 to 1
  double noise = 0;
  double specks = 0;  // the share of pixels that are black or white
  bool transparent = false;
  double bound = 6;  // of the mean difference from the form, in grey levels; of an empty form it is some 30
};

Picture draw(const Page& page, const Glyph& glyph) {
  Picture picture{page.width, page.height, {}};
  picture.pixels.reserve(static_cast<size_t>(page.width) * static_cast<size_t>(page.height));
  kg::RandomStream random(3, kg::RandomPurpose::user);
  const auto may_have_ink = [&](const Point& p) {
    return p.x > -page.pen && p.x < 1 + page.pen && p.y > -page.pen && p.y < 1 + page.pen;
  };
  for (int y = 0; y < page.height; ++y)
    for (int x = 0; x < page.width; ++x) {
      const Point p = {(x + 0.5 - page.left) / page.size, (y + 0.5 - page.top) / page.size};
      const double ink = may_have_ink(p) ? ink_at(glyph, p, page.pen, 1 / page.size) : 0;
      const double light = page.light(double(x) / page.width, double(y) / page.height);
      double noise = 0, speck_color = 0;
      bool speck = false;
      if (page.noise > 0 || page.specks > 0) {
        noise = page.noise * (random.uniform(-1, 1) + random.uniform(-1, 1) + random.uniform(-1, 1));
        speck = random.uniform(0, 1) < page.specks;
        speck_color = random.uniform(0, 1) < 0.5 ? 0 : 255;
      }
      std::array<uint8_t, 4> pixel{};
      for (size_t c = 0; c < 3; ++c) {
        const double paper = page.transparent ? page.ink[c] : page.paper[c];
        const double color = speck ? speck_color : (paper + ink * (page.ink[c] - paper)) * light + noise;
        pixel[c] = static_cast<uint8_t>(std::lround(std::clamp(color, 0.0, 255.0)));
      }
      pixel[3] = page.transparent ? static_cast<uint8_t>(std::lround(255 * ink)) : uint8_t{255};
      picture.pixels.push_back(pixel);
    }
  return picture;
}

Picture picture_of(const GreyImage& image) {
  Picture picture{image.width, image.height, {}};
  for (const uint8_t pixel : image.pixels) picture.pixels.push_back({pixel, pixel, pixel, 255});
  return picture;
}

/// Checks that it has MNIST's form: a box of 20, the centre of mass in the middle, ink from black to white.
void check_form(const GreyImage& form) {
  REQUIRE(form.width == 28);
  REQUIRE(form.height == 28);
  int left = 28, right = -1, top = 28, bottom = -1;
  double mass = 0, sum_x = 0, sum_y = 0;
  for (int y = 0; y < 28; ++y)
    for (int x = 0; x < 28; ++x) {
      const uint8_t ink = pixel(form, x, y);
      if (ink > 12)
        left = std::min(left, x), right = std::max(right, x), top = std::min(top, y),
        bottom = std::max(bottom, y);
      mass += ink, sum_x += ink * x, sum_y += ink * y;
    }
  const int size = std::max(right - left, bottom - top) + 1;
  CHECK(size >= 19);
  CHECK(size <= 20);
  CHECK(std::abs(sum_x / mass - 14) <= 0.51);
  CHECK(std::abs(sum_y / mass - 14) <= 0.51);
  CHECK(int{*std::ranges::max_element(form.pixels)} == 255);
  CHECK(int{*std::ranges::min_element(form.pixels)} == 0);
}

/// Of the difference from what MNIST would have made of it, the smallest at shifts by a pixel: where the
/// centre of mass lies between two pixels, both are right, as check_form() sees.
double difference_from(const Glyph& glyph, const GreyImage& form) {
  const GreyImage expected = expected_form(glyph);
  double smallest = 255;
  for (const int dy : {-1, 0, 1})
    for (const int dx : {-1, 0, 1}) {
      GreyImage shifted = constant_image(28, 28, 0);
      for (int y = 1; y < 27; ++y)
        for (int x = 1; x < 27; ++x)
          shifted.pixels[static_cast<size_t>(y * 28 + x)] = pixel(expected, x + dx, y + dy);
      smallest = std::min(smallest, mean_difference(form, shifted));
    }
  return smallest;
}

std::string no_digit(const Picture& picture) {
  try {
    as_mnist(picture);
  } catch (const NoDigit& error) {
    return error.what();
  }
  return "nothing was thrown";
}

GreyImage grey(int width, int height, const std::function<double(double, double)>& at) {
  GreyImage image{width, height, {}};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x)
      image.pixels.push_back(static_cast<uint8_t>(std::lround(std::clamp(at(x, y), 0.0, 255.0))));
  return image;
}
}  // namespace

TEST_CASE("a bright border means black on white", "[digit]") {
  GreyImage bright = constant_image(4, 5, 255);
  bright.pixels[2 * 4 + 1] = 10;
  const GreyImage inverted = white_on_black(bright);
  CHECK(pixel(inverted, 0, 0) == 0);
  CHECK(pixel(inverted, 1, 2) == 245);

  // Only the border counts, all four sides of it: 14 pixels here, the inside has 6.
  GreyImage dark = constant_image(4, 5, 0);
  for (int y = 1; y < 4; ++y)
    dark.pixels[static_cast<size_t>(y * 4 + 1)] = dark.pixels[static_cast<size_t>(y * 4 + 2)] = 255;
  CHECK(white_on_black(dark).pixels == dark.pixels);

  const std::array<std::pair<int, int>, 4> sides = {{{1, 0}, {1, 4}, {0, 2}, {3, 2}}};
  for (const auto& [x, y] : sides) {
    // 14 pixels of 127 stay below the mean of 128, 14 more on a single one of them reaches it.
    GreyImage edge = constant_image(4, 5, 127);
    edge.pixels[static_cast<size_t>(y * 4 + x)] = 127 + 13;
    CHECK(white_on_black(edge).pixels == edge.pixels);
    edge.pixels[static_cast<size_t>(y * 4 + x)] = 127 + 14;
    CHECK(white_on_black(edge).pixels != edge.pixels);
  }
  CHECK(white_on_black(constant_image(1, 3, 200)).pixels == Bytes(3, 55));
  CHECK(white_on_black(constant_image(3, 1, 200)).pixels == Bytes(3, 55));
}

TEST_CASE("an image of the right size is not touched", "[digit]") {
  GreyImage image = constant_image(28, 28, 0);
  std::iota(image.pixels.begin(), image.pixels.end(), uint8_t{0});
  CHECK(fit_to(image, 28, 28).pixels == image.pixels);
}

TEST_CASE("a fitted image keeps its shape in the middle of a black canvas", "[digit]") {
  struct Case {
    int width, height, left, top, fitted_width, fitted_height;
  };
  for (const Case& c : {Case{100, 40, 0, 8, 28, 11}, Case{40, 100, 8, 0, 11, 28}, Case{7, 14, 7, 0, 14, 28},
                        Case{1, 1, 0, 0, 28, 28}, Case{500, 1, 0, 13, 28, 1}, Case{29, 29, 0, 0, 28, 28}}) {
    INFO(c.width << " x " << c.height);
    const GreyImage fitted = fit_to(constant_image(c.width, c.height, 200), 28, 28);
    REQUIRE(fitted.pixels.size() == 28 * 28);
    for (int y = 0; y < 28; ++y) {
      for (int x = 0; x < 28; ++x) {
        const bool inside =
            x >= c.left && x < c.left + c.fitted_width && y >= c.top && y < c.top + c.fitted_height;
        INFO(x << ", " << y);
        CHECK(std::abs(pixel(fitted, x, y) - (inside ? 200 : 0)) <= 1);
      }
    }
  }
}

TEST_CASE("shrinking averages over all pixels", "[digit]") {
  // Every tenth column is white: picking or interpolating single pixels gives stripes or nothing.
  GreyImage stripes = constant_image(280, 280, 0);
  for (size_t i = 0; i < stripes.pixels.size(); i += 10) stripes.pixels[i] = 255;
  const GreyImage fitted = fit_to(stripes, 28, 28);
  for (int x = 1; x < 27; ++x) CHECK(std::abs(pixel(fitted, x, 14) - 25.5) <= 3);
}

TEST_CASE("shrinking a large picture averages over all pixels too", "[digit]") {
  // A fifth of each output pixel is white, at its end, its middle or its start.
  const int factor = GENERATE(20, 50, 100), first = GENERATE(0, 2, 4);
  INFO(factor << "-fold, white from " << first << " fifths on");
  GreyImage stripes = constant_image(28 * factor, 28 * factor, 0);
  for (size_t i = 0; i < stripes.pixels.size(); ++i)
    if (static_cast<int>(i % static_cast<size_t>(factor)) * 5 / factor == first) stripes.pixels[i] = 255;
  const GreyImage fitted = fit_to(stripes, 28, 28);
  for (int x = 1; x < 27; ++x) CHECK(std::abs(pixel(fitted, x, 14) - 51) <= 4);
}

TEST_CASE("scaling keeps a picture what it is", "[digit]") {
  const GreyImage small = ring(28);
  CHECK(mean_difference(fit_to(ring(280), 28, 28), small) < 3);
  CHECK(mean_difference(fit_to(ring(73), 28, 28), small) < 3);
  // So few pixels hold less of it.
  CHECK(mean_difference(fit_to(ring(20), 28, 28), small) < 5);
}

TEST_CASE("an empty image cannot be fitted", "[digit]") {
  CHECK_THROWS_AS(fit_to({}, 28, 28), kg::Error);
  CHECK_THROWS_AS(fit_to(constant_image(3, 3, 0), 0, 28), kg::Error);
  CHECK_THROWS_AS(fit_to({3, 3, Bytes(8)}, 28, 28), kg::Error);
}

TEST_CASE("as_mnist finds a digit on any page and brings it to MNIST's form", "[digit]") {
  const auto shaded = [](double x, double y) { return 1 - 0.5 * x - 0.1 * y; };
  const auto vignette = [](double x, double y) {
    return 1 - 0.8 * ((x - 0.5) * (x - 0.5) + (y - 0.5) * (y - 0.5));
  };
  const auto shadow = [](double x, double) { return 1 - 0.3 / (1 + std::exp(-(x - 0.5) * 50)); };
  const std::vector<std::pair<std::string, Page>> pages = {
      {"black on white", {}},
      {"white on black", {.paper = {0, 0, 0}, .ink = {255, 255, 255}}},
      {"on grey", {.paper = {185, 185, 185}, .ink = {50, 50, 50}}},
      {"light on grey", {.paper = {70, 70, 70}, .ink = {160, 160, 160}}},
      {"faint", {.paper = {200, 200, 200}, .ink = {170, 170, 170}}},
      {"a third of the page", {.size = 90, .left = 100, .top = 90}},
      {"in a corner", {.width = 1000, .height = 800, .size = 60, .left = 920, .top = 20, .bound = 10}},
      {"large", {.width = 2100, .height = 900, .size = 600, .left = 700, .top = 150}},
      {"small", {.width = 40, .height = 40, .size = 22, .left = 12, .top = 9, .bound = 10}},
      {"tall", {.width = 200, .height = 700, .size = 150, .left = 50, .top = 30}},
      {"wide", {.width = 700, .height = 200, .size = 150, .left = 500, .top = 30}},
      {"tight", {.width = 160, .height = 216, .size = 190, .left = 18, .top = 13}},
      {"blue on yellow", {.paper = {240, 230, 140}, .ink = {20, 40, 160}}},
      {"red on green of the same luminance", {.paper = {0, 150, 120}, .ink = {220, 60, 70}}},
      {"yellow on white", {.paper = {255, 255, 255}, .ink = {250, 220, 60}}},
      {"shaded", {.paper = {230, 225, 220}, .light = shaded}},
      {"chalk, shaded", {.paper = {60, 70, 60}, .ink = {240, 240, 240}, .light = shaded}},
      {"a third, with a vignette",
       {.size = 90, .left = 100, .top = 90, .paper = {220, 220, 220}, .light = vignette}},
      {"with a shadow", {.width = 800, .height = 600, .size = 300, .left = 300, .top = 150, .light = shadow}},
      {"noise", {.paper = {200, 200, 200}, .ink = {50, 50, 50}, .noise = 25, .bound = 13}},
      {"noise, a third", {.size = 90, .left = 100, .top = 90, .paper = {220, 220, 220}, .noise = 20}},
      {"specks", {.paper = {220, 220, 220}, .specks = 0.01}},
      {"dark and transparent", {.ink = {0, 0, 0}, .transparent = true}},
      {"light and transparent", {.ink = {255, 255, 255}, .transparent = true}},
      {"blue and transparent", {.ink = {20, 40, 160}, .transparent = true}},
  };
  for (const auto& [name, page] : pages)
    for (const Glyph& glyph : {seven, four, two, one, zero}) {
      INFO(name << ", with " << glyph[0].size() << " points");
      GreyImage form;
      REQUIRE_NOTHROW(form = as_mnist(draw(page, glyph)));
      check_form(form);
      CHECK(difference_from(glyph, form) < page.bound);
    }
}

TEST_CASE("as_mnist makes the line of a thin pen as wide as MNIST's thin ones", "[digit]") {
  for (const double pen : {0.01, 0.02, 0.05}) {
    INFO(pen);
    const GreyImage form = as_mnist(
        draw({.width = 1000, .height = 800, .size = 400, .left = 300, .top = 200, .pen = pen}, seven));
    check_form(form);
    CHECK(std::accumulate(form.pixels.begin(), form.pixels.end(), 0.0) > 255 * 1.2 * 31);  // 31 pixels long
  }
}

TEST_CASE("as_mnist takes the pixels of a picture in MNIST's form as they are", "[digit]") {
  const GreyImage form = expected_form(four);
  CHECK(as_mnist(picture_of(form)).pixels == form.pixels);
  GreyImage inverted = form;
  for (uint8_t& value : inverted.pixels) value = static_cast<uint8_t>(255 - value);
  CHECK(as_mnist(picture_of(inverted)).pixels == form.pixels);

  // Neither centred nor of MNIST's size, but not to be changed either.
  GreyImage elsewhere = constant_image(28, 28, 9);
  for (int y = 2; y < 12; ++y) elsewhere.pixels[static_cast<size_t>(y * 28 + 5)] = 200;
  CHECK(as_mnist(picture_of(elsewhere)).pixels == elsewhere.pixels);

  GreyImage on_gray = form;
  for (uint8_t& value : on_gray.pixels) value = static_cast<uint8_t>(185 - value * 135 / 255);
  CHECK(mean_difference(as_mnist(picture_of(on_gray)), form) < 6);
}

TEST_CASE("as_mnist leaves out what lies beside the digit", "[digit]") {
  const GreyImage expected = expected_form(two);
  const auto form_with = [&](const std::function<void(Picture&, int, int)>& add) {
    Picture picture = draw({.width = 400, .height = 300, .size = 150, .left = 150, .top = 80}, two);
    for (int y = 0; y < picture.height; ++y)
      for (int x = 0; x < picture.width; ++x) add(picture, x, y);
    return as_mnist(picture);
  };
  const auto blacken = [](Picture& picture, int x, int y) {
    picture.pixels[static_cast<size_t>(y * picture.width + x)] = {0, 0, 0, 255};
  };
  CHECK(mean_difference(form_with([&](Picture& p, int x, int y) {
                          if (x < 60) blacken(p, x, y);
                        }),
                        expected) < 6);
  CHECK(mean_difference(form_with([&](Picture& p, int x, int y) {
                          if (x < 5 || y < 5 || x >= p.width - 5 || y >= p.height - 5) blacken(p, x, y);
                        }),
                        expected) < 6);
  CHECK(mean_difference(form_with([&](Picture& p, int x, int y) {
                          if (y == 40 || y == 260) blacken(p, x, y);
                        }),
                        expected) < 6);
  CHECK(mean_difference(form_with([&](Picture& p, int x, int y) {
                          if (std::hypot(x - 340, y - 250) < 3) blacken(p, x, y);
                        }),
                        expected) < 6);
  // Near enough to be a piece of the digit, and too small.
  CHECK(mean_difference(form_with([&](Picture& p, int x, int y) {
                          if (std::hypot(x - 200, y - 275) < 3) blacken(p, x, y);
                        }),
                        expected) < 6);
}

TEST_CASE("as_mnist keeps a digit that is in pieces", "[digit]") {
  Picture picture = draw({}, one);
  for (int y = 120; y < 150; ++y)
    for (int x = 0; x < picture.width; ++x)
      picture.pixels[static_cast<size_t>(y * picture.width + x)] = {255, 255, 255, 255};
  check_form(as_mnist(picture));
}

TEST_CASE("as_mnist says what is wrong with a shape that is no digit", "[digit]") {
  const auto black_where = [](int size, const std::function<bool(int, int)>& inside) {
    return picture_of(grey(size, size, [&](double x, double y) {
      return inside(static_cast<int>(x), static_cast<int>(y)) ? 0 : 255;
    }));
  };
  const auto bar = [&](int height) {
    return black_where(60,
                       [height](int x, int y) { return x >= 30 && x < 32 && y >= 20 && y < 20 + height; });
  };
  CHECK(contains(no_digit(bar(7)), "is 7 pixels high and wide at most, expected at least 8"));
  CHECK(no_digit(bar(8)) == "nothing was thrown");
  // Two dots.
  CHECK(contains(no_digit(black_where(60,
                                      [](int x, int y) {
                                        return (y == 30 || y == 31) &&
                                               (x == 20 || x == 21 || x == 31 || x == 32);
                                      })),
                 "are specks"));
  // A net.
  CHECK(contains(no_digit(black_where(100,
                                      [](int x, int y) {
                                        return x >= 30 && x <= 69 && y >= 30 && y <= 69 &&
                                               (x % 3 == 0 || y % 3 == 0);
                                      })),
                 "no clear strokes"));
  // A line of the paper's own.
  CHECK(contains(no_digit(black_where(60, [](int, int y) { return y == 40; })), "nothing stands out"));
  // A frame.
  CHECK(contains(no_digit(black_where(60,
                                      [](int x, int y) {
                                        return std::min({x, y, 59 - x, 59 - y}) < 3;
                                      })),
                 "the picture's edge"));
}

TEST_CASE("as_mnist says when there is no digit", "[digit]") {
  kg::RandomStream random(5, kg::RandomPurpose::user);
  const auto noise = [&](double amplitude) {
    return [&random, amplitude](double, double) { return 128 + amplitude * random.uniform(-1, 1); };
  };
  for (const int size : {28, 100, 280, 700}) {
    INFO(size);
    const auto square = [&](const std::function<double(double, double)>& at) {
      return picture_of(grey(size, size, at));
    };
    for (const uint8_t shade : {0, 20, 128, 255})
      CHECK(no_digit(picture_of(constant_image(size, size, shade))) ==
            "no digit: nothing stands out from the ground");
    for (const double amplitude : {2, 10, 40, 127})
      CHECK(contains(no_digit(square(noise(amplitude))), "no digit: "));
    CHECK(contains(no_digit(square([&](double x, double y) { return 250 - 100 * (x + y) / size; })),
                   "no digit: "));
    CHECK(contains(no_digit(square([&](double x, double y) {
                     return 230 - 150 * (std::pow(x / size - 0.5, 2) + std::pow(y / size - 0.5, 2));
                   })),
                   "no digit: "));
    CHECK(contains(no_digit(square([&](double x, double y) {
                     return std::hypot(x - size / 2, y - size / 2) < 2 ? 0 : 255;
                   })),
                   "no digit: "));
    CHECK(contains(no_digit(square([&](double x, double y) {
                     return std::hypot(x - size / 2, y - size / 2) < size / 3 ? 0 : 255;
                   })),
                   "filled area"));
    CHECK(contains(no_digit(square([&](double, double y) { return std::fmod(y, 20) < 1 ? 120 : 250; })),
                   "no digit: "));
    for (const double share : {0.001, 0.02, 0.2})
      CHECK(contains(no_digit(square([&](double, double) { return random.uniform(0, 1) < share ? 0 : 255; })),
                     "no digit: "));
  }
  for (const auto& [width, height] : {std::pair{1, 1}, std::pair{1, 90}, std::pair{90, 1}, std::pair{2, 2}})
    CHECK(contains(no_digit(picture_of(grey(width, height, [](double x, double y) { return 60 * (x + y); }))),
                   "no digit: "));
}

}  // namespace mnist
