// SPDX-License-Identifier: MIT
#include "kernelgrad/error.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>

namespace kg {

namespace {

struct Character {
  std::size_t bytes = 0;  ///< 0: no UTF-8
  std::uint32_t code = 0;
};

/// The first character of the text, which is not empty.
Character first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const std::uint32_t lead = byte(0);
  if (lead < 0x80) return {1, lead};
  const std::size_t bytes = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < bytes) return {};
  std::uint32_t code = lead & (0x7Fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = code < (bytes == 2 ? 0x80u : bytes == 3 ? 0x800u : 0x10000u);
  const bool surrogate = code >= 0xD800 && code <= 0xDFFF;
  return overlong || surrogate || code > 0x10FFFF ? Character{} : Character{bytes, code};
}

/// Control characters, line separators, marks of direction and the byte order mark.
bool is_control(std::uint32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x61C ||
         (code >= 0x200B && code <= 0x200F) || (code >= 0x2028 && code <= 0x202E) ||
         (code >= 0x2060 && code <= 0x206F) || code == 0xFEFF;
}

std::string escaped(const char* format, std::uint32_t code) {
  char text[16];
  std::snprintf(text, sizeof text, format, static_cast<unsigned>(code));
  return text;
}

class NoMemory : public Error {
 public:
  explicit NoMemory(std::string_view op) : Error("") {
    constexpr std::string_view end = ": no memory";
    const std::string_view start = op.substr(0, text_.size() - end.size() - 1);
    std::ranges::copy(end, std::ranges::copy(start, text_.begin()).out);
  }
  const char* what() const noexcept override { return text_.data(); }

 private:
  std::array<char, 256> text_{};
};

}  // namespace

void no_memory(std::string_view op) { throw NoMemory(op); }

std::string printable(std::string_view text) {
  constexpr std::size_t longest = 4096;
  const std::size_t whole = text.size();
  std::string result;
  while (!text.empty() && result.size() < longest) {
    const auto [bytes, code] = first_character(text);
    if (bytes == 0)
      result += escaped("\\x%02x", static_cast<unsigned char>(text[0]));
    else if (code == '\n')
      result += "\\n";
    else if (is_control(code))
      result += escaped(code < 0x80 ? "\\x%02x" : "\\u%04x", code);
    else
      result += text.substr(0, bytes);
    text.remove_prefix(bytes ? bytes : 1);
  }
  if (!text.empty()) result += "... (" + std::to_string(whole) + " bytes)";
  return result;
}

std::string in_quotes(std::string_view text) {
  return std::string("\"").append(printable(text)).append("\"");
}

}  // namespace kg
