#include "png.h"

#include <cairo.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "image.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr int64_t kMaxPixels = 64'000'000;
constexpr int64_t kMaxSide = 32'767;  // Cairo's

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
  void operator()(cairo_t* context) const { cairo_destroy(context); }
};
using File = std::unique_ptr<std::FILE, Close>;
using Surface = std::unique_ptr<cairo_surface_t, Close>;
using Context = std::unique_ptr<cairo_t, Close>;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& reason) {
  throw kg::Error(fmt::format("{}: {}", path.string(), reason));
}

void check(cairo_status_t status, const char* doing) {
  if (status != CAIRO_STATUS_SUCCESS)
    throw kg::Error(fmt::format("{}: {}", doing, cairo_status_to_string(status)));
}

int64_t big_endian_32(const unsigned char* bytes) {
  return int64_t{bytes[0]} << 24 | int64_t{bytes[1]} << 16 | int64_t{bytes[2]} << 8 | int64_t{bytes[3]};
}

/// Tells what Cairo does not: a file that is no PNG from a damaged one. And a few bytes can claim any size,
/// so the size is read before memory is taken for it.
void check_header(const std::filesystem::path& path, std::FILE* file) {
  static constexpr std::array<unsigned char, 8> signature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  std::array<unsigned char, 24> header{};
  errno = 0;
  const size_t length = std::fread(header.data(), 1, header.size(), file);
  if (std::ferror(file)) fail(path, "cannot be read: " + std::generic_category().message(errno));
  if (length < signature.size() || !std::equal(signature.begin(), signature.end(), header.begin())) {
    fail(path, "is not a PNG; expected a file that starts with PNG's signature");
  }
  if (length < header.size()) fail(path, fmt::format("truncated PNG: {} bytes", length));
  const int64_t width = big_endian_32(&header[16]), height = big_endian_32(&header[20]);
  if (width > 0 && height > kMaxPixels / width) {
    fail(path, fmt::format("PNG of {} x {} pixels, expected at most {} pixels; scale it down first", width,
                           height, kMaxPixels));
  }
  if (std::max(width, height) > kMaxSide) {
    fail(path,
         fmt::format("PNG of {} x {} pixels, expected at most {} in a row or column; scale it down first",
                     width, height, kMaxSide));
  }
  std::rewind(file);
}

cairo_status_t read_from_file(void* closure, unsigned char* data, unsigned length) {
  return std::fread(data, 1, length, static_cast<std::FILE*>(closure)) == length ? CAIRO_STATUS_SUCCESS
                                                                                 : CAIRO_STATUS_READ_ERROR;
}

Surface decode(const std::filesystem::path& path) {
  const File file(std::fopen(path.c_str(), "rb"));
  if (!file) fail(path, "cannot be opened: " + std::generic_category().message(errno));
  check_header(path, file.get());
  Surface surface(cairo_image_surface_create_from_png_stream(read_from_file, file.get()));
  // Cairo's own text does not help: it calls damaged data "out of memory".
  if (cairo_surface_status(surface.get()) != CAIRO_STATUS_SUCCESS) {
    fail(path,
         fmt::format("truncated or damaged PNG: decoding failed after {} bytes", std::ftell(file.get())));
  }
  return surface;
}

int width_of(const Surface& surface) { return cairo_image_surface_get_width(surface.get()); }
int height_of(const Surface& surface) { return cairo_image_surface_get_height(surface.get()); }

/// The same picture in Cairo's ARGB32: later Cairos give 16-bit PNGs as floats, and opaque ones have no
/// alpha.
Surface as_argb32(const Surface& picture) {
  Surface argb(cairo_image_surface_create(CAIRO_FORMAT_ARGB32, width_of(picture), height_of(picture)));
  const Context context(cairo_create(argb.get()));
  cairo_set_operator(context.get(), CAIRO_OPERATOR_SOURCE);
  cairo_set_source_surface(context.get(), picture.get(), 0, 0);
  cairo_paint(context.get());
  check(cairo_status(context.get()), "converting a PNG to ARGB32");
  cairo_surface_flush(argb.get());
  return argb;
}

int luminance(int red, int green, int blue) {
  return (19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16;
}

}  // namespace

GrayImage read_png(const std::filesystem::path& path) {
  const Surface argb = as_argb32(decode(path));
  GrayImage image{width_of(argb), height_of(argb), {}};
  const size_t count = static_cast<size_t>(image.width) * static_cast<size_t>(image.height);

  // ARGB32 rows have no padding: their stride is a multiple of four anyway.
  std::vector<uint32_t> colours(count);
  std::memcpy(colours.data(), cairo_image_surface_get_data(argb.get()), count * sizeof(uint32_t));
  const auto channel = [](uint32_t argb32, int shift) { return static_cast<int>(argb32 >> shift & 0xFF); };

  // Colours are premultiplied by alpha, so the ratio of the sums is the mean luminance weighted by alpha.
  int64_t sum_luminance = 0, sum_alpha = 0;
  for (const uint32_t c : colours) {
    sum_luminance += luminance(channel(c, 16), channel(c, 8), channel(c, 0));
    sum_alpha += channel(c, 24);
  }
  const bool white_ground = 2 * sum_luminance < sum_alpha;

  image.pixels.reserve(count);
  for (const uint32_t c : colours) {
    const int ground = white_ground ? 255 - channel(c, 24) : 0;
    image.pixels.push_back(static_cast<uint8_t>(
        luminance(channel(c, 16) + ground, channel(c, 8) + ground, channel(c, 0) + ground)));
  }
  return image;
}

GrayImage white_on_black(GrayImage image) {
  int64_t sum = 0, count = 0;
  for (int y = 0; y < image.height; ++y) {
    const bool whole_row = y == 0 || y == image.height - 1;
    const int step = whole_row || image.width == 1 ? 1 : image.width - 1;
    for (int x = 0; x < image.width; x += step, ++count) {
      sum += image.pixels[static_cast<size_t>(y) * static_cast<size_t>(image.width) + static_cast<size_t>(x)];
    }
  }
  if (sum >= 128 * count) {
    for (uint8_t& pixel : image.pixels) pixel = static_cast<uint8_t>(255 - pixel);
  }
  return image;
}

GrayImage fit_to(GrayImage image, int width, int height) {
  if (image.width <= 0 || image.height <= 0 || width <= 0 || height <= 0) {
    throw kg::Error(fmt::format("fit_to: {} x {} image to {} x {}, expected at least 1 x 1", image.width,
                                image.height, width, height));
  }
  if (image.pixels.size() != static_cast<size_t>(image.width) * static_cast<size_t>(image.height)) {
    throw kg::Error(
        fmt::format("fit_to: {} pixels, expected {} x {}", image.pixels.size(), image.width, image.height));
  }
  const double scale = std::min(double(width) / image.width, double(height) / image.height);
  const int scaled_width = std::clamp(static_cast<int>(std::lround(image.width * scale)), 1, width);
  const int scaled_height = std::clamp(static_cast<int>(std::lround(image.height * scale)), 1, height);

  Image picture{image.height, image.width, std::move(image.pixels)}, scratch;
  resized_crop(picture, scratch, {0, 0, image.height, image.width}, {scaled_height, scaled_width});
  center_crop(picture, scratch, {height, width});
  return {width, height, std::move(picture.pixels)};
}

GrayImage read_digit(const std::filesystem::path& path, int width, int height) {
  return fit_to(white_on_black(read_png(path)), width, height);
}

}  // namespace mnist
