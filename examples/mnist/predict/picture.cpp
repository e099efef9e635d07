// SPDX-License-Identifier: MIT
#include "predict/picture.h"

#include <fmt/format.h>
#include <libexif/exif-data.h>
#include <png.h>
#include <turbojpeg.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include "data/file_kind.h"
#include "data/packed_file.h"
#include "kernelgrad/error.h"

#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#include <stb/stb_image.h>

namespace mnist {
namespace {

constexpr std::int64_t most_pixels = 64'000'000, longest_side = 32'767;
constexpr std::size_t most_bytes = std::size_t{256} << 20;

using Bytes = std::span<const std::uint8_t>;

[[noreturn]] void fail(const std::string& name, const std::string& reason) {
  throw kg::Error(fmt::format("{}: {}", name, reason));
}

// A few bytes can claim any size: it is looked at before memory is taken for it.
Picture empty_picture(const std::string& name, std::int64_t width, std::int64_t height) {
  if (width < 1 || height < 1) fail(name, fmt::format("picture of {} x {} pixels", width, height));
  if (height > most_pixels / width)
    fail(name, fmt::format("picture of {} x {} pixels, expected at most {} pixels; scale it down first",
                           width, height, most_pixels));
  if (std::max(width, height) > longest_side)
    fail(name,
         fmt::format("picture of {} x {} pixels, expected at most {} in a row or column; scale it down first",
                     width, height, longest_side));
  Picture picture{static_cast<int>(width), static_cast<int>(height), {}};
  picture.pixels.resize(static_cast<std::size_t>(width * height));
  return picture;
}

std::uint32_t big_endian_32(Bytes bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
         bytes[3];
}

// libpng stops at the last pixel: what is cut off or damaged behind it would go unnoticed.
void check_png_chunks(Bytes bytes, const std::string& name) {
  std::size_t place = 8;
  for (bool more = true; more;) {
    const Bytes rest = bytes.subspan(place);
    if (rest.size() < 12 || rest.size() - 12 < big_endian_32(rest))
      fail(name, fmt::format("truncated PNG: {} bytes, and more are announced", bytes.size()));
    const std::size_t length = big_endian_32(rest);
    if (crc32(0, rest.data() + 4, static_cast<unsigned>(length + 4)) !=
        big_endian_32(rest.subspan(8 + length)))
      fail(name, fmt::format("damaged PNG: a checksum is wrong in the part at byte {}", place));
    more = std::string_view(reinterpret_cast<const char*>(rest.data() + 4), 4) != "IEND";
    place += length + 12;
  }
}

struct FreePng {
  void operator()(png_image* image) const { png_image_free(image); }
};

Picture decode_png(Bytes bytes, const std::string& name) {
  check_png_chunks(bytes, name);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  const std::unique_ptr<png_image, FreePng> owner(&image);
  const auto check = [&](int ok) {
    if (!ok) fail(name, fmt::format("damaged PNG: {}", image.message));
  };
  check(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
  Picture picture = empty_picture(name, image.width, image.height);
  image.format = PNG_FORMAT_RGBA;
  image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;  // as every other program takes them
  check(png_image_finish_read(&image, nullptr, picture.pixels.data(), 0, nullptr));
  return picture;
}

struct CloseJpeg {
  void operator()(void* decoder) const { tjDestroy(decoder); }
};

Picture decode_jpeg(Bytes bytes, const std::string& name) {
  const std::unique_ptr<void, CloseJpeg> decoder(tjInitDecompress());
  if (!decoder) throw std::bad_alloc();
  const auto check = [&](int code) {
    if (code != 0) fail(name, fmt::format("truncated or damaged JPEG: {}", tjGetErrorStr2(decoder.get())));
  };
  int width = 0, height = 0, subsampling = 0, colours = 0;
  const auto size = static_cast<unsigned long>(bytes.size());
  check(tjDecompressHeader3(decoder.get(), bytes.data(), size, &width, &height, &subsampling, &colours));
  if (width < 1 || height < 1) fail(name, "truncated or damaged JPEG: it ends before its size");
  if (colours == TJCS_CMYK || colours == TJCS_YCCK)
    fail(name, "a JPEG in CMYK, the colours of a printer; save it in RGB or grey");
  Picture picture = empty_picture(name, width, height);
  // A warning is what a cut-off file gives: the rest would be grey.
  check(tjDecompress2(decoder.get(), bytes.data(), size, picture.pixels.data()->data(), width, 0, height,
                      TJPF_RGBA, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS | TJFLAG_STOPONWARNING));
  return picture;
}

struct FreeStb {
  void operator()(stbi_uc* pixels) const { stbi_image_free(pixels); }
};

// The bytes as stb_image asks for them. It takes what is beyond the end for zeros, and so a picture that is
// cut off for a whole one: that it asked for more than there is tells.
struct Source {
  Bytes rest;
  bool exhausted = false;

  static const stbi_io_callbacks& callbacks() {
    static constexpr stbi_io_callbacks table = {
        .read =
            [](void* user, char* room, int size) {
              Source& source = *static_cast<Source*>(user);
              const std::size_t count = std::min(static_cast<std::size_t>(size), source.rest.size());
              if (count == 0) source.exhausted = true;
              std::ranges::copy(source.rest.first(count), room);
              source.rest = source.rest.subspan(count);
              return static_cast<int>(count);
            },
        .skip =
            [](void* user, int count) {
              Source& source = *static_cast<Source*>(user);
              if (static_cast<std::size_t>(std::max(count, 0)) > source.rest.size()) source.exhausted = true;
              source.rest = source.rest.subspan(
                  std::min(static_cast<std::size_t>(std::max(count, 0)), source.rest.size()));
            },
        .eof = [](void* user) { return int{static_cast<Source*>(user)->rest.empty()}; }};
    return table;
  }
};

// By stb_image, which on Debian 12 must not be trusted with more: its JPEG decoder writes beyond its tables,
// and its PNG decoder decompresses before it looks at the size.
Picture decode_bmp(Bytes bytes, const std::string& name) {
  constexpr const char* what = "truncated or damaged BMP";
  const auto fail_as_stb = [&] {
    const std::string reason = stbi_failure_reason();
    if (reason == "outofmem") throw std::bad_alloc();
    fail(name, fmt::format("{}: {}", what, reason));
  };
  int width = 0, height = 0, channels = 0;
  if (!stbi_info_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height, &channels))
    fail_as_stb();
  Picture picture = empty_picture(name, width, height);
  Source source{.rest = bytes};
  const std::unique_ptr<stbi_uc, FreeStb> pixels(
      stbi_load_from_callbacks(&Source::callbacks(), &source, &width, &height, &channels, 4));
  if (!pixels) fail_as_stb();
  if (source.exhausted || width != picture.width || height != picture.height)
    fail(name, fmt::format("{}: it ends early", what));
  std::memcpy(picture.pixels.data(), pixels.get(), 4 * picture.pixels.size());
  return picture;
}

struct FreeExif {
  void operator()(ExifData* data) const { exif_data_unref(data); }
};

// 1 to 8 as Exif numbers the ways in which a camera may have been held, 1 where nothing is said.
int exif_orientation(Bytes jpeg) {
  const std::unique_ptr<ExifData, FreeExif> data(
      exif_data_new_from_data(jpeg.data(), static_cast<unsigned>(jpeg.size())));
  if (!data) return 1;
  const ExifEntry* entry = exif_content_get_entry(data->ifd[EXIF_IFD_0], EXIF_TAG_ORIENTATION);
  if (!entry || entry->format != EXIF_FORMAT_SHORT || entry->size < 2) return 1;
  const int orientation = exif_get_short(entry->data, exif_data_get_byte_order(data.get()));
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

Picture turned_upright(Picture picture, int orientation) {
  if (orientation == 1) return picture;
  const bool swapped = orientation >= 5;
  const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Picture upright{picture.width, picture.height, {}};
  if (swapped) std::swap(upright.width, upright.height);
  upright.pixels.reserve(picture.pixels.size());
  for (int y = 0; y < upright.height; ++y)
    for (int x = 0; x < upright.width; ++x) {
      int from_x = swapped ? y : x, from_y = swapped ? x : y;
      if (from_right) from_x = picture.width - 1 - from_x;
      if (from_below) from_y = picture.height - 1 - from_y;
      upright.pixels.push_back(
          picture.pixels[static_cast<std::size_t>(from_y) * static_cast<std::size_t>(picture.width) +
                         static_cast<std::size_t>(from_x)]);
    }
  return upright;
}

int luminance(int red, int green, int blue) {
  return (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16;
}

// What the transparent parts are to be: see lay_on_ground().
int ground_of(const Picture& picture) {
  std::int64_t sum = 0, opacity = 0;
  for (const auto& [red, green, blue, alpha] : picture.pixels) {
    sum += std::int64_t{alpha} * luminance(red, green, blue);
    opacity += alpha;
  }
  const std::int64_t mean = opacity == 0 ? 255 : sum / opacity;
  if (4 * opacity > 3 * 255 * static_cast<std::int64_t>(picture.pixels.size())) return static_cast<int>(mean);
  return mean < 128 ? 255 : 0;
}

}  // namespace

Picture decode_picture(std::span<const std::uint8_t> bytes, const std::string& name) {
  if (is_png(bytes)) return decode_png(bytes, name);
  if (is_jpeg(bytes)) return turned_upright(decode_jpeg(bytes, name), exif_orientation(bytes));
  if (is_bmp(bytes)) return decode_bmp(bytes, name);
  fail(name, fmt::format("is {}, expected a PNG, JPEG or BMP picture", kind_of_file(bytes)));
}

Picture read_picture(const std::filesystem::path& path) {
  const std::vector<std::uint8_t> bytes = read_head(*open_file(path), most_bytes + 1);
  if (bytes.size() > most_bytes)
    fail(path.string(), fmt::format("more than {} MiB, expected a smaller picture", most_bytes >> 20));
  return decode_picture(bytes, path.string());
}

void lay_on_ground(Picture& picture) {
  const int ground = ground_of(picture);
  for (auto& pixel : picture.pixels) {
    const int alpha = pixel[3];
    for (int channel = 0; channel < 3; ++channel)
      pixel[channel] =
          static_cast<std::uint8_t>((pixel[channel] * alpha + ground * (255 - alpha) + 127) / 255);
    pixel[3] = 255;
  }
}

GreyImage to_gray(Picture picture) {
  lay_on_ground(picture);
  GreyImage image{picture.width, picture.height, {}};
  image.pixels.reserve(picture.pixels.size());
  for (const auto& [red, green, blue, alpha] : picture.pixels)
    image.pixels.push_back(static_cast<std::uint8_t>(luminance(red, green, blue)));
  return image;
}

}  // namespace mnist
