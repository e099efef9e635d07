// SPDX-License-Identifier: MIT
#pragma once

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

/// Writes a PNG as kg::write_file() does: as a whole or not at all. Throws kg::Error naming the file.
void write_png(const std::filesystem::path& path, const PixelView& pixels);

}  // namespace mnist
