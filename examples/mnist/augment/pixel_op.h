// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

namespace mnist {

/// How a warp walks over its source: where the first output pixel's centre comes from, and the steps for one
/// output pixel to the right and for one row down.
template <class Coordinate>
struct Walk {
  Coordinate x, y;
  Coordinate x_right, y_right;
  Coordinate x_down, y_down;
};

/// Where the output position (x, y) comes from: (xx * x + xy * y + x0, yx * x + yy * y + y0). Pixels' centres
/// are at halves.
struct SourceMap {
  double xx, xy;
  double yx, yy;
  double x0, y0;
};

/// A rectangle of pixels. It may reach beyond an image.
struct Region {
  std::int32_t top, left;
  std::int32_t height, width;
};

/// A region that is brought to a size. An output row is a weighted mean of row_taps source rows, an output
/// column of column_taps source columns.
struct Resampling {
  Region from;
  std::int32_t height, width;
  std::int32_t row_taps, column_taps;
};

/// How many integers say what `to` output rows or columns are made of: each its first source, and `taps`
/// weights.
constexpr std::int64_t tap_integers(int to, int taps) { return std::int64_t{to} * (1 + taps); }

/// Where the output pixel `column` right of the centre and `row` below it comes from, with -1 and 1 for the
/// edges of the source: x = xx * column + xy * row, y = yx * column + yy * row, in float32.
struct CentredMap {
  float xx, xy;
  float yx, yy;
};

/// One pass over an image with every number decided: what an augmentation comes to for one sample. A plain
/// value, which the CPU and the CUDA kernel carry out with the same result.
struct PixelOp {
  enum class Kind : std::int32_t {
    keep,               ///< the image stays as it is
    warp_fixed,         ///< along fixed_walk, in 16.16 fixed point
    warp_precise,       ///< along precise_walk, for what fixed point cannot hold
    warp_bilinear,      ///< by source_map, a mean of the four pixels around each position
    crop,               ///< to region, black where that reaches beyond the image
    resize,             ///< as resampling says
    blend_black,        ///< between black (factor 0) and the image (factor 1) or beyond
    blend_mean,         ///< between the mean grey, rounded, and the image or beyond
    rotate_normalized,  ///< along centred_map, the last of all: what it gathers are normalised values
  };

  Kind kind;
  float factor;       ///< of a blend
  std::int32_t fill;  ///< what a warp puts where the source is outside: a grey, a value if it is normalised
  union {
    Walk<std::int64_t> fixed_walk;
    Walk<double> precise_walk;
    SourceMap source_map;
    Region region;
    Resampling resampling;
    CentredMap centred_map;
  };
};

/// What an image takes on its way through an augmentation, at most.
struct Workspace {
  std::int64_t pixels = 0;        ///< of one image
  std::int64_t tap_integers = 0;  ///< of one resize, rows and columns together
};

}  // namespace mnist
