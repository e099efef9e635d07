// SPDX-License-Identifier: MIT
// Runs the augmentation's deterministic parts on what comes from standard input, for
// augment_vs_torchvision.py.
//
// One request after another, until the end of the input; pixels are hexadecimal, numbers as C++ reads them:
//   affine HEIGHT WIDTH ANGLE DX DY SCALE SHEAR_X SHEAR_Y FILL BILINEAR PIXELS    (BILINEAR is 0 or 1)
//   jitter OP OP OP OP BRIGHTNESS CONTRAST PIXELS    (an OP is torchvision's index: 0 brightness .. 3 hue)
//   normalize MEAN STD PIXELS
//   rotate HEIGHT WIDTH ANGLE FILL PIXELS
//   rotate_normalized MEAN STD HEIGHT WIDTH ANGLE FILL PIXELS
//   resized_crop HEIGHT WIDTH TOP LEFT CROP_HEIGHT CROP_WIDTH TO_HEIGHT TO_WIDTH PIXELS
//   center_crop HEIGHT WIDTH TO_HEIGHT TO_WIDTH PIXELS
// or for what transforms draw for COUNT images, all numbers in one line:
//   draw_rotation COUNT LOW HIGH
//       (angles)
//   draw_affine COUNT HEIGHT WIDTH DEGREES TRANSLATE_X TRANSLATE_Y SCALE_LOW SCALE_HIGH
//       (angle, dx, dy, scale of each)
//   draw_resized_crop COUNT HEIGHT WIDTH SCALE_LOW SCALE_HIGH RATIO_LOW RATIO_HIGH
//       (top, left, height, width of each)
//   draw_jitter COUNT BRIGHTNESS CONTRAST
//       (brightness, contrast, the order as one number of four digits)
//   draw_apply COUNT P
//       (1 if the transforms are applied)
// The answer is one line each: the pixels in hexadecimal, or the float32 values in hexadecimal bits.

#include <fmt/format.h>

#include <cstring>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>

#include "augment/augment.h"

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
  const auto interpolation = static_cast<mnist::Interpolation>(read<int>());
  const Pixels in = read_pixels();
  Pixels out(in.size());
  mnist::warp_affine(in.data(), out.data(), height, width, parameters, fill, interpolation);
  print(out);
}

void jitter() {
  mnist::JitterParameters parameters;
  for (mnist::JitterOp& op : parameters.order) op = static_cast<mnist::JitterOp>(read<int>());
  parameters.brightness = read<double>();
  parameters.contrast = read<double>();
  const Pixels pixels = read_pixels();
  mnist::Image image, scratch;
  image.assign(pixels, 1, static_cast<int>(pixels.size()));
  for (const mnist::PixelOp& op : mnist::plan_jitter(parameters)) mnist::apply_op(op, image, scratch);
  print(image.pixels);
}

mnist::ImageSize read_size() {
  const int height = read<int>();
  return {height, read<int>()};
}

mnist::Image read_image(const mnist::ImageSize& size) {
  mnist::Image image;
  image.assign(read_pixels(), size.height, size.width);
  return image;
}

void print(const std::vector<float>& values) {
  std::string line;
  for (const float value : values) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    line += fmt::format("{:08x}", bits);
  }
  std::cout << line << '\n';
}

void rotate() {
  const mnist::ImageSize size = read_size();
  const auto angle = read<double>();
  const auto fill = static_cast<std::uint8_t>(read<int>());
  const Pixels in = read_pixels();
  Pixels out(in.size());
  mnist::rotate(in.data(), out.data(), size.height, size.width, angle, fill);
  print(out);
}

void rotate_normalized() {
  const auto mean = read<float>();
  const mnist::Normalize normalize(mean, read<float>());
  const mnist::ImageSize size = read_size();
  const auto angle = read<double>();
  const auto fill = static_cast<std::uint8_t>(read<int>());
  const mnist::Image image = read_image(size);
  std::vector<float> values(image.pixels.size());
  mnist::rotate_normalized(image, normalize, angle, fill, values.data());
  print(values);
}

void resized_crop() {
  const mnist::ImageSize size = read_size();
  mnist::Region region;
  for (std::int32_t* number : {&region.top, &region.left, &region.height, &region.width})
    *number = read<int>();
  const mnist::ImageSize to = read_size();
  mnist::Image image = read_image(size), scratch;
  mnist::resized_crop(image, scratch, region, to);
  print(image.pixels);
}

void center_crop() {
  const mnist::ImageSize size = read_size(), to = read_size();
  mnist::Image image = read_image(size), scratch;
  mnist::center_crop(image, scratch, to);
  print(image.pixels);
}

// Calls `draw` with the stream of each of so many images.
template <typename Draw>
void draw_for_images(std::uint32_t count, Draw draw) {
  for (std::uint32_t image = 0; image < count; ++image) {
    kg::RandomStream random(1, kg::RandomPurpose::augmentation, 1, image);
    draw(random);
  }
  std::cout << '\n';
}

mnist::Range read_range() {
  const auto low = read<double>();
  return {low, read<double>()};
}

void draw_rotation() {
  const auto count = read<std::uint32_t>();
  const mnist::Range degrees = read_range();
  const mnist::RandomRotation rotation{.degrees = {degrees.low, degrees.high}};
  draw_for_images(count, [&](kg::RandomStream& random) { std::cout << rotation.sample(random) << ' '; });
}

void draw_affine() {
  const auto count = read<std::uint32_t>();
  const mnist::ImageSize size = read_size();
  mnist::RandomAffine affine{.degrees = read<double>()};
  affine.translate[0] = read<double>();
  affine.translate[1] = read<double>();
  affine.scale = read_range();
  draw_for_images(count, [&](kg::RandomStream& random) {
    const mnist::AffineParameters p = affine.sample(size.height, size.width, random);
    std::cout << p.angle << ' ' << p.dx << ' ' << p.dy << ' ' << p.scale << ' ';
  });
}

void draw_resized_crop() {
  const auto count = read<std::uint32_t>();
  const mnist::ImageSize size = read_size();
  mnist::RandomResizedCrop crop{.size = 28};
  crop.scale = read_range();
  crop.ratio = read_range();
  draw_for_images(count, [&](kg::RandomStream& random) {
    const mnist::Region region = crop.sample(size.height, size.width, random);
    std::cout << region.top << ' ' << region.left << ' ' << region.height << ' ' << region.width << ' ';
  });
}

void draw_jitter() {
  const auto count = read<std::uint32_t>();
  mnist::ColorJitter jitter{.brightness = read<double>()};
  jitter.contrast = read<double>();
  draw_for_images(count, [&](kg::RandomStream& random) {
    const mnist::JitterParameters p = jitter.sample(random);
    std::cout << p.brightness << ' ' << p.contrast << ' ';
    for (const mnist::JitterOp op : p.order) std::cout << static_cast<int>(op);
    std::cout << ' ';
  });
}

void draw_apply() {
  const auto count = read<std::uint32_t>();
  const mnist::Augmentation augmentation(
      {mnist::RandomApply{.p = read<double>(), .transforms = {mnist::CenterCrop{.size = 1}}}});
  draw_for_images(count, [&](kg::RandomStream& random) {
    mnist::Image image, scratch;
    image.assign(Pixels(4), 2, 2);
    augmentation.apply(image, scratch, random);
    std::cout << (image.height == 1) << ' ';
  });
}

void normalize() {
  const float mean = read<float>();
  const float std = read<float>();
  const Pixels pixels = read_pixels();
  std::vector<float> values(pixels.size());
  mnist::Normalize(mean, std)(pixels, values.data());
  print(values);
}

}  // namespace

int main() {
  const std::map<std::string, void (*)()> requests = {
      {"affine", affine},
      {"jitter", jitter},
      {"normalize", normalize},
      {"rotate", rotate},
      {"rotate_normalized", rotate_normalized},
      {"resized_crop", resized_crop},
      {"center_crop", center_crop},
      {"draw_rotation", draw_rotation},
      {"draw_affine", draw_affine},
      {"draw_resized_crop", draw_resized_crop},
      {"draw_jitter", draw_jitter},
      {"draw_apply", draw_apply},
  };
  std::ios::sync_with_stdio(false);
  std::cout.precision(17);
  for (std::string request; std::cin >> request;) {
    const auto found = requests.find(request);
    if (found == requests.end()) throw std::runtime_error("augment_oracle: unknown request " + request);
    found->second();
  }
}
