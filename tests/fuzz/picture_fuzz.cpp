// SPDX-License-Identifier: MIT
/// PNG and JPEG pictures: what is accepted has the pixels that its size says, and comes in MNIST's form or is
/// no digit.

#include <zlib.h>

#include "data/file_kind.h"
#include "fuzz/fuzz.h"
#include "kernelgrad/error.h"
#include "predict/digit.h"
#include "predict/picture.h"

namespace {

using kg::fuzz::require;

void check_form(const mnist::Picture& picture) try {
  const mnist::GreyImage form = mnist::as_mnist(picture);
  require(form.width == 28 && form.height == 28 && form.pixels.size() == 28 * 28, "not of MNIST's form");
} catch (const mnist::NoDigit&) {
}

void put_big_endian(std::uint32_t value, std::span<std::uint8_t> bytes) {
  for (std::size_t i = 0; i < 4; ++i) bytes[i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

// With wrong checksums nothing would get any further.
void correct_checksums(std::span<std::uint8_t> png) {
  for (std::size_t place = 8; place + 12 <= png.size();) {
    const std::span<std::uint8_t> rest = png.subspan(place);
    const std::size_t length =
        std::size_t{rest[0]} << 24 | std::size_t{rest[1]} << 16 | std::size_t{rest[2]} << 8 | rest[3];
    if (length > rest.size() - 12) return;
    const uLong sum = crc32(0, rest.data() + 4, static_cast<unsigned>(length + 4));
    put_big_endian(static_cast<std::uint32_t>(sum), rest.subspan(8 + length));
    place += length + 12;
  }
}

void check(std::span<const std::uint8_t> bytes) try {
  const mnist::Picture picture = mnist::decode_picture(bytes, "picture");
  require(picture.width > 0 && picture.height > 0, "an empty picture");
  const std::size_t pixels =
      static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height);
  require(picture.pixels.size() == pixels, "more or fewer pixels than width and height say");
  constexpr std::size_t most_pixels = 100'000;  // more take too long for what they show
  if (pixels <= most_pixels) check_form(picture);
} catch (const kg::Error&) {
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> bytes(data, data + size);
  check(bytes);
  if (!mnist::is_png(bytes)) return 0;
  correct_checksums(bytes);
  check(bytes);
  return 0;
}
