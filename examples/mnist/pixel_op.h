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

/// One pass over an image with every number decided: what an augmentation comes to for one sample. A plain
/// value, which the CPU and the CUDA kernel carry out with the same result.
struct PixelOp {
  enum class Kind : std::int32_t {
    warp_fixed,    ///< along fixed_walk, in 16.16 fixed point
    warp_precise,  ///< along precise_walk, for what fixed point cannot hold
    blend_black,   ///< between black (factor 0) and the image (factor 1) or beyond
    blend_mean,    ///< between the mean grey, rounded, and the image or beyond
  };

  Kind kind;
  float factor;       ///< of a blend
  std::int32_t fill;  ///< what a warp puts where the source is outside, 0 to 255
  union {
    Walk<std::int64_t> fixed_walk;
    Walk<double> precise_walk;
  };
};

}  // namespace mnist
