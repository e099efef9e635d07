// SPDX-License-Identifier: MIT
#include "support.h"

namespace kg {
namespace {

TEST_CASE("Text is printed as it is, without what commands a terminal", "[errors]") {
  const std::vector<std::pair<std::string_view, std::string>> table = {
      {"", ""},
      {"runs/s7 final/\"model\".safetensors", "runs/s7 final/\"model\".safetensors"},
      {"back\\slash", "back\\slash"},
      {"\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80", "\xC3\xA4 \xE2\x82\xAC \xF0\x9F\x98\x80"},
      {"line\nbreak\r\t", "line\\nbreak\\x0d\\x09"},
      {"\x1b[31mred\x07", "\\x1b[31mred\\x07"},
      {std::string_view("zero\0byte", 9), "zero\\x00byte"},
      {"\x7F", "\\x7f"},
      {"\xC2\x9B 31m", "\\u009b 31m"},          // the control sequence introducer in one character
      {"\xE2\x80\xAE lanif", "\\u202e lanif"},  // right to left from here
      {"a\xE2\x80\x8B\xE2\x80\xA8\xEF\xBB\xBF", "a\\u200b\\u2028\\ufeff"},
      {"\xC2\xA0", "\xC2\xA0"},  // the first that is no control character
      {"\xFF\x80", "\\xff\\x80"},
      {"\xC0\xAF \xE0\x80\xAF", "\\xc0\\xaf \\xe0\\x80\\xaf"},  // longer than need be
      {"\xED\xA0\x80", "\\xed\\xa0\\x80"},                      // half a pair
      {"\xF4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},             // beyond Unicode
      {"cut \xE2\x82", "cut \\xe2\\x82"},
      {"cut \xC3\x28", "cut \\xc3("}};
  for (const auto& [text, expected] : table) {
    CHECK(printable(text) == expected);
    CHECK(in_quotes(text) == "\"" + expected + "\"");
  }
}

TEST_CASE("Text that never ends is cut in a message", "[errors]") {
  CHECK(printable(std::string(4096, 'x')) == std::string(4096, 'x'));
  CHECK(printable(std::string(100'000, 'x')) == std::string(4096, 'x') + "... (100000 bytes)");
  CHECK(printable(std::string(100'000, '\1')).size() < 4200);
}

}  // namespace
}  // namespace kg
