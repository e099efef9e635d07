// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace mnist {

/// 8-bit red, green, blue and opacity, row by row.
struct Picture {
  int width = 0;
  int height = 0;
  std::vector<std::array<std::uint8_t, 4>> pixels;
};

/// 8-bit grey values, row by row; 0 is black.
struct GreyImage {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> pixels;
};

/// Reads a PNG of any colour type and depth, a BMP, or a JPEG, grey or in colour, which is turned upright as
/// its Exif data say. Throws kg::Error naming the file: missing, none of the three (and what it is instead),
/// truncated, damaged, a JPEG in CMYK, more than 64 million pixels or 32,767 in a row or column.
Picture read_picture(const std::filesystem::path& path);

/// The same from memory; `name` is for messages.
Picture decode_picture(std::span<const std::uint8_t> bytes, const std::string& name);

/// Lays a picture with transparent parts on a ground: on the mean grey of what is opaque if that is more than
/// three quarters, as with a cut-out page, and otherwise on the ground that its strokes stand out on: white
/// if they are dark on average, black if not. Every opacity is 255 afterwards.
void lay_on_ground(Picture& picture);

/// Luminance of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B, rounded as PIL's `convert("L")` rounds it, of the
/// picture on its ground.
GreyImage to_gray(Picture picture);

}  // namespace mnist
