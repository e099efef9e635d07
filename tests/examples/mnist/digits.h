// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "data/dataset.h"
#include "kernelgrad/random.h"

namespace mnist {

struct Digit {
  int label = 0;
  int left = 9, top = 5;  ///< of the box of 10 x 18 pixels that the digit fills
  std::uint8_t ink = 255;
};

/// Draws a digit as seven segments, as a pocket calculator shows it, onto 28x28 pixels.
inline void draw(const Digit& digit, std::uint8_t* pixels) {
  struct Bar {
    int x, y, width, height;
  };
  static constexpr Bar bars[] = {{0, 0, 10, 3}, {7, 0, 3, 10}, {7, 8, 3, 10}, {0, 15, 10, 3},
                                 {0, 8, 3, 10}, {0, 0, 3, 10}, {0, 8, 10, 3}};
  static constexpr unsigned lit[] = {0x3f, 0x06, 0x5b, 0x4f, 0x66, 0x6d, 0x7d, 0x07, 0x7f, 0x6f};
  for (int i = 0; i < 7; ++i) {
    if (!(lit[digit.label] >> i & 1)) continue;
    for (int y = 0; y < bars[i].height; ++y)
      for (int x = 0; x < bars[i].width; ++x)
        pixels[(digit.top + bars[i].y + y) * 28 + digit.left + bars[i].x + x] = digit.ink;
  }
}

/// Digits at random places and of random brightness on a noisy ground, the same for the same seed. The labels
/// are 0, 1, ..., 9, 0, 1, ...
inline Split digits(int count, std::uint64_t seed) {
  Split split{.images = std::vector<std::uint8_t>(static_cast<std::size_t>(count) * 28 * 28),
              .labels = {},
              .count = count,
              .height = 28,
              .width = 28};
  kg::RandomStream random(seed, kg::RandomPurpose::user);
  for (std::uint8_t& pixel : split.images) pixel = static_cast<std::uint8_t>(random.below(30));
  for (int i = 0; i < count; ++i) {
    const Digit digit{.label = i % 10,
                      .left = 7 + static_cast<int>(random.below(5)),
                      .top = 3 + static_cast<int>(random.below(5)),
                      .ink = static_cast<std::uint8_t>(150 + random.below(106))};
    draw(digit, split.images.data() + static_cast<std::size_t>(i) * 28 * 28);
    split.labels.push_back(static_cast<std::uint8_t>(digit.label));
  }
  return split;
}

}  // namespace mnist
