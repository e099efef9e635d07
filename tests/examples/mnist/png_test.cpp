#include "png.h"

#include <zlib.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

void append_32(Bytes& bytes, uint32_t value) {
  for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<uint8_t>(value >> shift));
}

void append_chunk(Bytes& png, const std::string& type, const Bytes& data) {
  append_32(png, static_cast<uint32_t>(data.size()));
  Bytes body(type.begin(), type.end());
  body.insert(body.end(), data.begin(), data.end());
  png.insert(png.end(), body.begin(), body.end());
  append_32(png, static_cast<uint32_t>(crc32(0, body.data(), static_cast<unsigned>(body.size()))));
}

enum ColorType : uint8_t { kGray = 0, kRgb = 2, kPalette = 3, kGrayAlpha = 4, kRgba = 6 };

struct PngSpec {
  uint32_t width = 1, height = 1;
  uint8_t depth = 8;
  ColorType type = kGray;
  Bytes palette = {};
};

/// A PNG of these packed rows, as the specification of the format has it.
Bytes png_of(const PngSpec& spec, const Bytes& rows) {
  Bytes png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  Bytes header;
  append_32(header, spec.width);
  append_32(header, spec.height);
  for (const uint8_t field : {spec.depth, uint8_t{spec.type}, uint8_t{0}, uint8_t{0}, uint8_t{0}}) {
    header.push_back(field);
  }
  append_chunk(png, "IHDR", header);
  if (!spec.palette.empty()) append_chunk(png, "PLTE", spec.palette);

  Bytes filtered;
  const size_t row_length = rows.size() / spec.height;
  for (size_t y = 0; y < spec.height; ++y) {
    filtered.push_back(0);
    const auto row = rows.begin() + static_cast<ptrdiff_t>(y * row_length);
    filtered.insert(filtered.end(), row, row + static_cast<ptrdiff_t>(row_length));
  }
  uLongf length = compressBound(filtered.size());
  Bytes compressed(length);
  compress(compressed.data(), &length, filtered.data(), filtered.size());
  compressed.resize(length);
  append_chunk(png, "IDAT", compressed);
  append_chunk(png, "IEND", {});
  return png;
}

std::vector<int> read_back(const PngSpec& spec, const Bytes& rows) {
  const TemporaryDirectory directory;
  const GrayImage image = read_png(write_plain(directory / "a.png", png_of(spec, rows)));
  CHECK(image.width == static_cast<int>(spec.width));
  CHECK(image.height == static_cast<int>(spec.height));
  return {image.pixels.begin(), image.pixels.end()};
}

GrayImage constant_image(int width, int height, uint8_t value) {
  return {width, height, Bytes(static_cast<size_t>(width) * static_cast<size_t>(height), value)};
}

uint8_t pixel(const GrayImage& image, int x, int y) {
  return image.pixels[static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)];
}

/// A smooth ring on black, as wide and high as `size`: something like a written 0.
GrayImage ring(int size) {
  GrayImage image = constant_image(size, size, 0);
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

double mean_difference(const GrayImage& a, const GrayImage& b) {
  REQUIRE(a.pixels.size() == b.pixels.size());
  double sum = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) sum += std::abs(a.pixels[i] - b.pixels[i]);
  return sum / static_cast<double>(a.pixels.size());
}

}  // namespace

TEST_CASE("grey PNGs of every depth are read", "[png]") {
  CHECK(read_back({.width = 3, .height = 2}, {0, 1, 2, 127, 254, 255}) ==
        std::vector<int>{0, 1, 2, 127, 254, 255});
  CHECK(read_back({.width = 5, .height = 2, .depth = 1}, {0b10110'000, 0b00001'000}) ==
        std::vector<int>{255, 0, 255, 255, 0, 0, 0, 0, 0, 255});
  CHECK(read_back({.width = 3, .depth = 4}, {0x0F, 0x80}) == std::vector<int>{0, 255, 136});
  CHECK(read_back({.width = 3, .depth = 16}, {0, 0, 0x80, 0x80, 0xFF, 0xFF}) ==
        std::vector<int>{0, 128, 255});
}

TEST_CASE("colours become the luminance that PIL gives them", "[png]") {
  // Expected values: PIL 9.4's convert("L").
  const Bytes colours = {255, 0,   0,   0, 255, 0, 0,   0,   255, 12, 200, 77,
                         255, 255, 255, 1, 2,   3, 254, 255, 254, 90, 90,  91};
  const std::vector<int> expected = {76, 150, 29, 130, 255, 2, 255, 90};
  CHECK(read_back({.width = 8, .type = kRgb}, colours) == expected);
  CHECK(read_back({.width = 8, .type = kPalette, .palette = colours}, {0, 1, 2, 3, 4, 5, 6, 7}) == expected);

  Bytes opaque;
  for (size_t i = 0; i < colours.size(); ++i) {
    opaque.push_back(colours[i]);
    if (i % 3 == 2) opaque.push_back(255);
  }
  CHECK(read_back({.width = 8, .type = kRgba}, opaque) == expected);
}

TEST_CASE("transparent parts take the ground that the strokes stand out on", "[png]") {
  const uint8_t clear = 0, half = 128, solid = 255;
  SECTION("dark ink lies on white") {
    CHECK(read_back({.width = 3, .type = kGrayAlpha}, {0, clear, 0, half, 0, solid}) ==
          std::vector<int>{255, 127, 0});
  }
  SECTION("light ink lies on black") {
    CHECK(read_back({.width = 3, .type = kGrayAlpha}, {0, clear, 255, half, 255, solid}) ==
          std::vector<int>{0, 128, 255});
  }
  SECTION("colour under full transparency does not count") {
    CHECK(read_back({.width = 3, .type = kGrayAlpha}, {255, clear, 255, clear, 40, solid}) ==
          std::vector<int>{255, 255, 40});
  }
  SECTION("nothing at all is black") {
    CHECK(read_back({.width = 2, .type = kGrayAlpha}, {255, clear, 255, clear}) == std::vector<int>{0, 0});
  }
}

TEST_CASE("a file that is no whole PNG is refused by name", "[png]") {
  const TemporaryDirectory directory;
  const auto path = directory / "digit.png";
  const auto error_for = [&](const Bytes& bytes) {
    return error_of([&] { read_png(write_plain(path, bytes)); });
  };

  CHECK(error_of([&] { read_png(path); }) == path.string() + ": cannot be opened: No such file or directory");
  CHECK(error_of([&] { read_png(directory.path()); }) ==
        directory.path().string() + ": cannot be read: Is a directory");
  const std::string no_png =
      path.string() + ": is not a PNG; expected a file that starts with PNG's signature";
  CHECK(error_for({}) == no_png);
  CHECK(error_for({'G', 'I', 'F', '8', '9', 'a', 0, 0, 0, 0, 0, 0}) == no_png);

  Bytes noise(64 * 64);
  uint32_t state = 1;
  for (uint8_t& value : noise) value = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  const Bytes png = png_of({.width = 64, .height = 64}, noise);
  for (const size_t length :
       {size_t{8}, size_t{20}, size_t{24}, size_t{40}, png.size() / 2, png.size() - 20, png.size() - 1}) {
    INFO(length << " of " << png.size() << " bytes");
    const std::string message = error_for(Bytes(png.begin(), png.begin() + static_cast<ptrdiff_t>(length)));
    CHECK(contains(message, path.string() + ": truncated"));
  }
  Bytes damaged = png;
  damaged[png.size() / 2] ^= 0x10;
  CHECK(contains(error_for(damaged), path.string() + ": truncated or damaged PNG"));
}

TEST_CASE("a PNG that claims to be huge is refused before memory is taken", "[png]") {
  const TemporaryDirectory directory;
  const Bytes png = png_of({.width = 30000, .height = 30000}, {});
  const std::string message = error_of([&] { read_png(write_plain(directory / "bomb.png", png)); });
  CHECK(contains(message, "bomb.png: PNG of 30000 x 30000 pixels, expected at most 64000000"));
  const Bytes wide = png_of({.width = 40000, .height = 10}, {});
  CHECK(contains(error_of([&] { read_png(write_plain(directory / "wide.png", wide)); }),
                 "wide.png: PNG of 40000 x 10 pixels, expected at most 32767 in a row or column"));
}

TEST_CASE("a bright border means black on white", "[png]") {
  GrayImage bright = constant_image(4, 5, 255);
  bright.pixels[2 * 4 + 1] = 10;
  const GrayImage inverted = white_on_black(bright);
  CHECK(pixel(inverted, 0, 0) == 0);
  CHECK(pixel(inverted, 1, 2) == 245);

  // Only the border counts, all four sides of it: 14 pixels here, the inside has 6.
  GrayImage dark = constant_image(4, 5, 0);
  for (int y = 1; y < 4; ++y)
    dark.pixels[static_cast<size_t>(y * 4 + 1)] = dark.pixels[static_cast<size_t>(y * 4 + 2)] = 255;
  CHECK(white_on_black(dark).pixels == dark.pixels);

  const std::array<std::pair<int, int>, 4> sides = {{{1, 0}, {1, 4}, {0, 2}, {3, 2}}};
  for (const auto& [x, y] : sides) {
    // 14 pixels of 127 stay below the mean of 128, 14 more on a single one of them reaches it.
    GrayImage edge = constant_image(4, 5, 127);
    edge.pixels[static_cast<size_t>(y * 4 + x)] = 127 + 13;
    CHECK(white_on_black(edge).pixels == edge.pixels);
    edge.pixels[static_cast<size_t>(y * 4 + x)] = 127 + 14;
    CHECK(white_on_black(edge).pixels != edge.pixels);
  }
  CHECK(white_on_black(constant_image(1, 3, 200)).pixels == Bytes(3, 55));
  CHECK(white_on_black(constant_image(3, 1, 200)).pixels == Bytes(3, 55));
}

TEST_CASE("an image of the right size is not touched", "[png]") {
  GrayImage image = constant_image(28, 28, 0);
  std::iota(image.pixels.begin(), image.pixels.end(), uint8_t{0});
  CHECK(fit_to(image, 28, 28).pixels == image.pixels);
}

TEST_CASE("a fitted image keeps its shape in the middle of a black canvas", "[png]") {
  struct Case {
    int width, height, left, top, fitted_width, fitted_height;
  };
  for (const Case& c : {Case{100, 40, 0, 8, 28, 11}, Case{40, 100, 8, 0, 11, 28}, Case{7, 14, 7, 0, 14, 28},
                        Case{1, 1, 0, 0, 28, 28}, Case{500, 1, 0, 13, 28, 1}, Case{29, 29, 0, 0, 28, 28}}) {
    INFO(c.width << " x " << c.height);
    const GrayImage fitted = fit_to(constant_image(c.width, c.height, 200), 28, 28);
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

TEST_CASE("shrinking averages over all pixels", "[png]") {
  // Every tenth column is white: picking or interpolating single pixels gives stripes or nothing.
  GrayImage stripes = constant_image(280, 280, 0);
  for (size_t i = 0; i < stripes.pixels.size(); i += 10) stripes.pixels[i] = 255;
  const GrayImage fitted = fit_to(stripes, 28, 28);
  for (int x = 1; x < 27; ++x) CHECK(std::abs(pixel(fitted, x, 14) - 25.5) <= 3);
}

TEST_CASE("shrinking a large picture averages over all pixels too", "[png]") {
  // A fifth of each output pixel is white, at its end, its middle or its start.
  const int factor = GENERATE(20, 50, 100), first = GENERATE(0, 2, 4);
  INFO(factor << "-fold, white from " << first << " fifths on");
  GrayImage stripes = constant_image(28 * factor, 28 * factor, 0);
  for (size_t i = 0; i < stripes.pixels.size(); ++i)
    if (static_cast<int>(i % static_cast<size_t>(factor)) * 5 / factor == first) stripes.pixels[i] = 255;
  const GrayImage fitted = fit_to(stripes, 28, 28);
  for (int x = 1; x < 27; ++x) CHECK(std::abs(pixel(fitted, x, 14) - 51) <= 4);
}

TEST_CASE("scaling keeps a picture what it is", "[png]") {
  const GrayImage small = ring(28);
  CHECK(mean_difference(fit_to(ring(280), 28, 28), small) < 3);
  CHECK(mean_difference(fit_to(ring(73), 28, 28), small) < 3);
  // So few pixels hold less of it.
  CHECK(mean_difference(fit_to(ring(20), 28, 28), small) < 5);
}

TEST_CASE("an empty image cannot be fitted", "[png]") {
  CHECK_THROWS_AS(fit_to({}, 28, 28), kg::Error);
  CHECK_THROWS_AS(fit_to(constant_image(3, 3, 0), 0, 28), kg::Error);
  CHECK_THROWS_AS(fit_to({3, 3, Bytes(8)}, 28, 28), kg::Error);
}

TEST_CASE("a digit is read the same from paper, from ink without paper and from MNIST's own form", "[png]") {
  const TemporaryDirectory directory;
  const GrayImage digit = ring(140);
  Bytes paper, ink;
  for (const uint8_t value : digit.pixels) {
    paper.push_back(static_cast<uint8_t>(255 - value));
    ink.insert(ink.end(), {0, value});
  }
  const auto path = directory / "digit.png";
  const auto read = [&](ColorType type, const Bytes& rows) {
    return read_digit(write_plain(path, png_of({.width = 140, .height = 140, .type = type}, rows)));
  };
  CHECK(mean_difference(read(kGray, digit.pixels), ring(28)) < 3);
  CHECK(mean_difference(read(kGray, paper), ring(28)) < 3);
  CHECK(mean_difference(read(kGrayAlpha, ink), ring(28)) < 3);
}

}  // namespace mnist
