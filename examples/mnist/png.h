#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace mnist {

/// 8-bit grey values, row by row; 0 is black.
struct GrayImage {
  int width = 0;
  int height = 0;
  std::vector<uint8_t> pixels;
};

/// Reads a PNG of any colour type and depth as 8-bit grey: luminance of ITU-R BT.601, 0.299 R + 0.587 G +
/// 0.114 B, rounded as PIL's `convert("L")` rounds it. A picture with transparent parts is laid on the ground
/// that its strokes stand out on: white if the opaque part is dark on average, black otherwise. Throws
/// kg::Error naming the file: missing, not a PNG, truncated or damaged, more than 64 million pixels or 32,767
/// in a row or column.
GrayImage read_png(const std::filesystem::path& path);

/// MNIST's digits are white on black: inverts the image if the mean of its border pixels is at least 128, the
/// mark of a bright background, and returns it as it is otherwise.
GrayImage white_on_black(GrayImage image);

/// Scales the image to the largest size that fits `width` x `height` without distortion, in whole pixels, and
/// puts it in the middle of a black canvas of that size. Shrinking averages, enlarging interpolates, as
/// resized_crop() does; an image that already has the size comes back unchanged. Throws kg::Error if either
/// image is empty or the pixels are not width x height.
GrayImage fit_to(GrayImage image, int width, int height);

/// What a network trained on MNIST expects: `fit_to(white_on_black(read_png(path)), width, height)`.
GrayImage read_digit(const std::filesystem::path& path, int width = 28, int height = 28);

}  // namespace mnist
