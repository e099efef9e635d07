// SPDX-License-Identifier: MIT
#include "predict/picture.h"
#include "report/png_file.h"

#include <turbojpeg.h>
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

enum ColorType : uint8_t {
  color_type_grey = 0,
  color_type_rgb = 2,
  color_type_palette = 3,
  color_type_grey_alpha = 4,
  color_type_rgba = 6
};

struct PngSpec {
  uint32_t width = 1, height = 1;
  uint8_t depth = 8;
  ColorType type = color_type_grey;
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
  const GreyImage image = to_gray(read_picture(write_plain(directory / "a.png", png_of(spec, rows))));
  CHECK(image.width == static_cast<int>(spec.width));
  CHECK(image.height == static_cast<int>(spec.height));
  return {image.pixels.begin(), image.pixels.end()};
}

/// A JPEG of the picture, in TurboJPEG's format of pixels.
Bytes jpeg_of(const Bytes& pixels, int width, int height, int format = TJPF_GRAY,
              int subsampling = TJSAMP_GRAY) {
  const tjhandle encoder = tjInitCompress();
  unsigned char* data = nullptr;
  unsigned long size = 0;
  if (tjCompress2(encoder, pixels.data(), width, 0, height, format, &data, &size, subsampling, 95, 0) != 0)
    throw std::runtime_error(tjGetErrorStr2(encoder));
  const Bytes jpeg(data, data + size);
  tjFree(data);
  tjDestroy(encoder);
  return jpeg;
}

/// The JPEG with Exif data that say how the camera was held, in either order of bytes.
Bytes with_orientation(const Bytes& jpeg, uint8_t orientation, bool big_endian) {
  Bytes exif = {0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0, 0};
  const Bytes big = {'M', 'M', 0, 42, 0, 0, 0,           8, 0, 1, 1, 18, 0,
                     3,   0,   0, 0,  1, 0, orientation, 0, 0, 0, 0, 0,  0};
  const Bytes little = {'I', 'I', 42, 0, 8, 0,           0, 0, 1, 0, 18, 1, 3,
                        0,   1,   0,  0, 0, orientation, 0, 0, 0, 0, 0,  0, 0};
  const Bytes& tiff = big_endian ? big : little;
  exif.insert(exif.end(), tiff.begin(), tiff.end());
  Bytes turned = jpeg;
  turned.insert(turned.begin() + 2, exif.begin(), exif.end());
  return turned;
}

}  // namespace

TEST_CASE("grey PNGs of every depth are read", "[picture]") {
  CHECK(read_back({.width = 3, .height = 2}, {0, 1, 2, 127, 254, 255}) ==
        std::vector<int>{0, 1, 2, 127, 254, 255});
  CHECK(read_back({.width = 5, .height = 2, .depth = 1}, {0b10110'000, 0b00001'000}) ==
        std::vector<int>{255, 0, 255, 255, 0, 0, 0, 0, 0, 255});
  CHECK(read_back({.width = 3, .depth = 4}, {0x0F, 0x80}) == std::vector<int>{0, 255, 136});
  CHECK(read_back({.width = 3, .depth = 16}, {0, 0, 0x80, 0x80, 0xFF, 0xFF}) ==
        std::vector<int>{0, 128, 255});
}

TEST_CASE("colours become the luminance that PIL gives them", "[picture]") {
  // Expected values: PIL 9.4's convert("L").
  const Bytes colours = {255, 0,   0,   0, 255, 0, 0,   0,   255, 12, 200, 77,
                         255, 255, 255, 1, 2,   3, 254, 255, 254, 90, 90,  91};
  const std::vector<int> expected = {76, 150, 29, 130, 255, 2, 255, 90};
  CHECK(read_back({.width = 8, .type = color_type_rgb}, colours) == expected);
  CHECK(read_back({.width = 8, .type = color_type_palette, .palette = colours}, {0, 1, 2, 3, 4, 5, 6, 7}) ==
        expected);

  Bytes opaque;
  for (size_t i = 0; i < colours.size(); ++i) {
    opaque.push_back(colours[i]);
    if (i % 3 == 2) opaque.push_back(255);
  }
  CHECK(read_back({.width = 8, .type = color_type_rgba}, opaque) == expected);
}

TEST_CASE("transparent parts take the ground that the strokes stand out on", "[picture]") {
  const uint8_t clear = 0, half = 128, solid = 255;
  SECTION("dark ink lies on white") {
    CHECK(read_back({.width = 3, .type = color_type_grey_alpha}, {0, clear, 0, half, 0, solid}) ==
          std::vector<int>{255, 127, 0});
  }
  SECTION("light ink lies on black") {
    CHECK(read_back({.width = 3, .type = color_type_grey_alpha}, {0, clear, 255, half, 255, solid}) ==
          std::vector<int>{0, 128, 255});
  }
  SECTION("colour under full transparency does not count") {
    CHECK(read_back({.width = 3, .type = color_type_grey_alpha}, {255, clear, 255, clear, 40, solid}) ==
          std::vector<int>{255, 255, 40});
  }
  SECTION("what is mostly opaque goes on") {
    CHECK(read_back({.width = 6, .type = color_type_grey_alpha},
                    {200, solid, 200, solid, 0, solid, 200, solid, 0, clear, 200, solid}) ==
          std::vector<int>{200, 200, 0, 200, 160, 200});
  }
  SECTION("nothing at all is black") {
    CHECK(read_back({.width = 2, .type = color_type_grey_alpha}, {255, clear, 255, clear}) ==
          std::vector<int>{0, 0});
  }
}

TEST_CASE("a file that is no whole PNG is refused by name", "[picture]") {
  const TemporaryDirectory directory;
  const auto path = directory / "digit.png";
  const auto error_for = [&](const Bytes& bytes) {
    return error_of([&] { read_picture(write_plain(path, bytes)); });
  };

  CHECK(error_of([&] { read_picture(path); }) == path.string() + ": no such file");
  CHECK(error_of([&] { read_picture(directory.path()); }) ==
        directory.path().string() + ": is a folder, not a file");
  const auto other = [&](const std::string& kind) {
    return path.string() + ": is " + kind + ", expected a PNG, JPEG or BMP picture";
  };
  CHECK(error_for({}) == other("an empty file"));
  CHECK(error_for({'G', 'I', 'F', '8', '9', 'a', 0, 0, 0, 0, 0, 0}) == other("a GIF picture"));
  CHECK(error_for(bytes_of(std::string("\0\0\0\x18", 4) + "ftypheic")) == other("a HEIC picture"));
  CHECK(error_for(bytes_of("RIFF....WEBPVP8 ")) == other("a WebP picture"));
  CHECK(error_for(bytes_of("%PDF-1.4")) == other("a PDF document"));
  CHECK(error_for(bytes_of("<!DOCTYPE html>")) == other("a web page (HTML)"));

  Bytes noise(64 * 64);
  uint32_t state = 1;
  for (uint8_t& value : noise) value = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  const Bytes png = png_of({.width = 64, .height = 64}, noise);
  for (const size_t length :
       {size_t{8}, size_t{20}, size_t{24}, size_t{40}, png.size() / 2, png.size() - 20, png.size() - 1}) {
    INFO(length << " of " << png.size() << " bytes");
    const std::string message = error_for(Bytes(png.begin(), png.begin() + static_cast<ptrdiff_t>(length)));
    INFO(message);
    CHECK(contains(message, path.string() + ": truncated"));
  }
  for (std::size_t i = 8; i < png.size(); i += 7) {
    Bytes damaged = png;
    damaged[i] ^= 0x10;
    INFO("byte " << i << ": " << error_for(damaged));
    CHECK(contains(error_for(damaged), path.string() + ": "));
  }
}

TEST_CASE("a PNG that claims to be huge is refused before memory is taken", "[picture]") {
  const TemporaryDirectory directory;
  const Bytes png = png_of({.width = 30000, .height = 30000}, {});
  const std::string message = error_of([&] { read_picture(write_plain(directory / "bomb.png", png)); });
  CHECK(contains(message, "bomb.png: picture of 30000 x 30000 pixels, expected at most 64000000"));
  const Bytes wide = png_of({.width = 40000, .height = 10}, {});
  CHECK(contains(error_of([&] { read_picture(write_plain(directory / "wide.png", wide)); }),
                 "wide.png: picture of 40000 x 10 pixels, expected at most 32767 in a row or column"));
}

TEST_CASE("a JPEG is read, grey and in colour, whatever its name", "[picture]") {
  const TemporaryDirectory directory;
  Bytes grey(16 * 8), red;
  for (size_t i = 0; i < grey.size(); ++i) {
    grey[i] = i % 16 < 8 ? 20 : 230;
    red.insert(red.end(), {255, 0, 0});
  }
  const auto read = [&](const Bytes& jpeg) {
    return to_gray(read_picture(write_plain(directory / "a.png", jpeg)));
  };
  const GreyImage image = read(jpeg_of(grey, 16, 8));
  CHECK(image.width == 16);
  CHECK(image.height == 8);
  for (size_t i = 0; i < grey.size(); ++i) CHECK(std::abs(image.pixels[i] - grey[i]) <= 2);
  for (const uint8_t pixel : read(jpeg_of(red, 16, 8, TJPF_RGB, TJSAMP_420)).pixels)
    CHECK(std::abs(pixel - 76) <= 2);
}

TEST_CASE("a BMP is read, and refused where it is cut off or huge", "[picture]") {
  const TemporaryDirectory directory;
  const auto append = [](Bytes& bytes, uint32_t value, int size) {
    for (int i = 0; i < size; ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
  };
  // 24 bits a pixel, rows from below, each filled up to four bytes.
  const auto bmp_of = [&](uint32_t width, uint32_t height, const Bytes& rows) {
    Bytes bmp = bytes_of("BM");
    for (const uint32_t field : {54 + static_cast<uint32_t>(rows.size()), 0u, 54u, 40u, width, height})
      append(bmp, field, 4);
    append(bmp, 1, 2);
    append(bmp, 24, 2);
    for (const uint32_t field : {0u, 0u, 2835u, 2835u, 0u, 0u}) append(bmp, field, 4);
    bmp.insert(bmp.end(), rows.begin(), rows.end());
    return bmp;
  };
  const auto read = [&](const Bytes& bmp) { return read_picture(write_plain(directory / "a.bmp", bmp)); };
  const Bytes bmp = bmp_of(2, 2, {1, 2, 3, 4, 5, 6, 0, 0, 7, 8, 9, 10, 11, 12, 0, 0});
  const Picture picture = read(bmp);
  CHECK(picture.width == 2);
  CHECK(picture.pixels == std::vector<std::array<uint8_t, 4>>{
                              {9, 8, 7, 255}, {12, 11, 10, 255}, {3, 2, 1, 255}, {6, 5, 4, 255}});
  // The last row's filling may be missing.
  for (size_t length = 12; length + 2 < bmp.size(); ++length) {
    const Bytes cut(bmp.begin(), bmp.begin() + static_cast<ptrdiff_t>(length));
    INFO(length);
    CHECK(contains(error_of([&] { read(cut); }), "a.bmp: truncated or damaged BMP"));
  }
  CHECK(contains(error_of([&] { read(bmp_of(30000, 30000, {})); }),
                 "a.bmp: picture of 30000 x 30000 pixels, expected at most 64000000"));
}

TEST_CASE("a JPEG is turned upright as its Exif data say", "[picture]") {
  // Where the dark corner, which is above on the left, lies in the picture as it is to be seen.
  struct Case {
    uint8_t orientation;
    bool right, below, swapped;
  };
  const Case c =
      GENERATE(Case{1, false, false, false}, Case{2, true, false, false}, Case{3, true, true, false},
               Case{4, false, true, false}, Case{5, false, false, true}, Case{6, true, false, true},
               Case{7, true, true, true}, Case{8, false, true, true}, Case{0, false, false, false},
               Case{9, false, false, false});
  const bool big_endian = GENERATE(false, true);
  INFO(int{c.orientation} << (big_endian ? ", big endian" : ", little endian"));
  // Besides the corner, its neighbour along the upper edge is grey: a picture and its mirror image differ.
  Bytes pixels(24 * 16, 250);
  for (size_t i = 0; i < 8; ++i)
    for (size_t j = 0; j < 8; ++j) pixels[i * 24 + j] = 10, pixels[i * 24 + 8 + j] = 120;
  const TemporaryDirectory directory;
  const Bytes jpeg = with_orientation(jpeg_of(pixels, 24, 16), c.orientation, big_endian);
  const GreyImage image = to_gray(read_picture(write_plain(directory / "a.jpg", jpeg)));
  REQUIRE(image.width == (c.swapped ? 16 : 24));
  REQUIRE(image.height == (c.swapped ? 24 : 16));
  const auto at = [&](int from_left, int from_top) {
    const int x = c.right ? image.width - 1 - from_left : from_left;
    const int y = c.below ? image.height - 1 - from_top : from_top;
    return int{image.pixels[static_cast<size_t>(y * image.width + x)]};
  };
  CHECK(at(3, 3) < 20);
  CHECK(std::abs((c.swapped ? at(3, 11) : at(11, 3)) - 120) < 10);
  CHECK((c.swapped ? at(11, 3) : at(3, 11)) > 240);
}

TEST_CASE("a JPEG that is cut off or in CMYK is refused", "[picture]") {
  const TemporaryDirectory directory;
  Bytes noise(64 * 64);
  uint32_t state = 1;
  for (uint8_t& value : noise) value = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  const Bytes jpeg = jpeg_of(noise, 64, 64);
  for (size_t length = 3; length < jpeg.size(); length += 11) {
    const Bytes cut(jpeg.begin(), jpeg.begin() + static_cast<ptrdiff_t>(length));
    const std::string message = error_of([&] { read_picture(write_plain(directory / "a.jpg", cut)); });
    INFO(length << " of " << jpeg.size() << " bytes: " << message);
    CHECK(contains(message, "a.jpg: truncated or damaged JPEG"));
  }
  const Bytes cmyk = jpeg_of(Bytes(16 * 16 * 4, 100), 16, 16, TJPF_CMYK, TJSAMP_444);
  CHECK(contains(error_of([&] { read_picture(write_plain(directory / "b.jpg", cmyk)); }),
                 "b.jpg: a JPEG in CMYK"));
}

TEST_CASE("a PNG is written and read back, grey and in colour", "[picture]") {
  const TemporaryDirectory directory;
  Bytes values(45);
  std::iota(values.begin(), values.end(), uint8_t{17});
  write_png(directory / "grey.png", {.width = 9, .height = 5, .values = values});
  const GreyImage grey = to_gray(read_picture(directory / "grey.png"));
  CHECK(grey.width == 9);
  CHECK(grey.pixels == values);
  const PixelView coloured{.width = 5, .height = 3, .channels = 3, .values = values};
  write_png(directory / "coloured.png", coloured);
  const Picture back = read_picture(directory / "coloured.png");
  CHECK(back.width == 5);
  CHECK(back.pixels.at(14) == std::array<uint8_t, 4>{59, 60, 61, 255});
  CHECK(contains(error_of([&] { write_png(directory / "nowhere" / "a.png", coloured); }), "nowhere"));
}

}  // namespace mnist
