// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace mnist {

/// 8-bit values [height, width, channels]: one channel is grey, three are red, green and blue.
struct PixelView {
  int width = 0;
  int height = 0;
  int channels = 1;
  std::span<const std::uint8_t> values;
};

/// Pixels as Cairo has them in the format RGB24: a native word 0x00RRGGBB each, rows `stride` bytes apart.
struct Rgb24View {
  int width = 0;
  int height = 0;
  std::ptrdiff_t stride = 0;
  const unsigned char* rows = nullptr;
};

/// Writes a PNG as kg::write_file() does: as a whole or not at all. Throws kg::Error naming the file.
void write_png(const std::filesystem::path& path, const PixelView& pixels);
void write_png(const std::filesystem::path& path, const Rgb24View& pixels);

}  // namespace mnist
