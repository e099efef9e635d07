// Runs the augmentation's deterministic parts on what comes from standard input, for
// augment_vs_torchvision.py.
//
// One request after another, until the end of the input; pixels are hexadecimal, numbers as C++ reads them:
//   affine HEIGHT WIDTH ANGLE DX DY SCALE SHEAR_X SHEAR_Y FILL PIXELS
//   jitter OP OP OP OP BRIGHTNESS CONTRAST PIXELS    (an OP is torchvision's index: 0 brightness .. 3 hue)
//   normalize MEAN STD PIXELS
// The answer is one line each: the pixels in hexadecimal, or the float32 values in hexadecimal bits.

#include <fmt/format.h>

#include <cstring>
#include <iostream>
#include <stdexcept>
#include <string>

#include "augment.h"

namespace {

using Pixels = std::vector<std::uint8_t>;

template <typename T>
T read() {
  T value;
  if (!(std::cin >> value)) throw std::runtime_error("augment_oracle: malformed request");
  return value;
}

Pixels read_pixels() {
  const auto text = read<std::string>();
  Pixels pixels(text.size() / 2);
  for (std::size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<std::uint8_t>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
  return pixels;
}

void print(const Pixels& pixels) {
  std::string line;
  for (const std::uint8_t pixel : pixels) line += fmt::format("{:02x}", pixel);
  std::cout << line << '\n';
}

void affine() {
  const int height = read<int>();
  const int width = read<int>();
  mnist::AffineParameters parameters;
  parameters.angle = read<double>();
  parameters.dx = read<int>();
  parameters.dy = read<int>();
  parameters.scale = read<double>();
  parameters.shear_x = read<double>();
  parameters.shear_y = read<double>();
  const auto fill = static_cast<std::uint8_t>(read<int>());
  const Pixels in = read_pixels();
  Pixels out(in.size());
  mnist::warp_affine(in.data(), out.data(), height, width, parameters, fill);
  print(out);
}

void jitter() {
  mnist::JitterParameters parameters;
  for (mnist::JitterOp& op : parameters.order) op = static_cast<mnist::JitterOp>(read<int>());
  parameters.brightness = read<double>();
  parameters.contrast = read<double>();
  Pixels pixels = read_pixels();
  mnist::jitter(pixels, parameters);
  print(pixels);
}

void normalize() {
  const float mean = read<float>();
  const float std = read<float>();
  const Pixels pixels = read_pixels();
  std::vector<float> values(pixels.size());
  mnist::Normalize(mean, std)(pixels, values.data());
  std::string line;
  for (const float value : values) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    line += fmt::format("{:08x}", bits);
  }
  std::cout << line << '\n';
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string request; std::cin >> request;) {
    if (request == "affine")
      affine();
    else if (request == "jitter")
      jitter();
    else if (request == "normalize")
      normalize();
    else
      throw std::runtime_error("augment_oracle: unknown request " + request);
  }
}
