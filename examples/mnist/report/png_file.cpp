// SPDX-License-Identifier: MIT
#include "report/png_file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "support/files.h"

namespace {

/// What stb_image_write compresses with in place of its own: zlib takes half as long for two thirds of the
/// bytes. The result is freed by free(); null where there is no memory.
unsigned char* compress_with_zlib(unsigned char* data, int size, int* compressed_size, int level) {
  uLongf length = compressBound(static_cast<uLong>(size));
  auto* compressed = static_cast<unsigned char*>(std::malloc(length));
  if (!compressed) return nullptr;
  if (compress2(compressed, &length, data, static_cast<uLong>(size), level) != Z_OK) {
    std::free(compressed);
    return nullptr;
  }
  *compressed_size = static_cast<int>(length);
  return compressed;
}

}  // namespace

#define STBIW_ZLIB_COMPRESS compress_with_zlib
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

namespace mnist {

void write_png(const std::filesystem::path& path, const PixelView& pixels) {
  // The difference from the row above, which charts and digits have little of. Without a filter the pictures
  // of a run take half as much space again.
  constexpr int up = 2;
  stbi_write_force_png_filter = up;
  stbi_write_png_compression_level = 6;
  std::string bytes;
  const auto append = [](void* context, void* data, int size) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(data),
                                               static_cast<std::size_t>(size));
  };
  if (!stbi_write_png_to_func(append, &bytes, pixels.width, pixels.height, pixels.channels,
                              pixels.values.data(), 0))
    throw std::bad_alloc();
  write_text(path, bytes);
}

void write_png(const std::filesystem::path& path, const Rgb24View& pixels) {
  std::vector<std::uint8_t> values(3 * static_cast<std::size_t>(pixels.width) *
                                   static_cast<std::size_t>(pixels.height));
  std::uint8_t* to = values.data();
  for (int y = 0; y < pixels.height; ++y)
    for (int x = 0; x < pixels.width; ++x) {
      std::uint32_t pixel = 0;
      std::memcpy(&pixel, pixels.rows + y * pixels.stride + 4 * x, sizeof pixel);
      for (const int shift : {16, 8, 0}) *to++ = static_cast<std::uint8_t>(pixel >> shift);
    }
  write_png(path, PixelView{pixels.width, pixels.height, 3, values});
}

}  // namespace mnist
