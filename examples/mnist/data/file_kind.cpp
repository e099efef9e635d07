// SPDX-License-Identifier: MIT
#include "data/file_kind.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

namespace mnist {
namespace {

using Head = std::string_view;

struct Signature {
  std::size_t offset;
  std::string_view bytes;
  std::string_view kind;
};

using namespace std::string_view_literals;

constexpr std::string_view gzip = "\x1f\x8b"sv, zip = "PK\x03\x04"sv, empty_zip = "PK\x05\x06"sv,
                           png = "\x89PNG\r\n\x1a\n"sv, jpeg = "\xff\xd8\xff"sv;

// Where one begins like another, the longer comes first.
constexpr Signature signatures[] = {
    {0, gzip, "gzip data"},
    {0, zip, "a zip archive"},
    {0, empty_zip, "an empty zip archive"},
    {0, "BZh", "bzip2 data"},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     "xz data"},
    {0, "\x28\xb5\x2f\xfd", "Zstandard data"},
    {0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive"},
    {0, "Rar!", "a RAR archive"},
    {257, "ustar", "a tar archive"},
    {0, "version https://git-lfs", "a Git LFS pointer (`git lfs pull` fetches the file itself)"},
    {0, "\x93NUMPY", "a NumPy array (.npy)"},
    {0, "\x89HDF\r\n\x1a\n", "an HDF5 file"},
    {0, "MATLAB 5.0", "a MATLAB file"},
    {0, "PAR1", "a Parquet file"},
    {0, png, "a PNG picture"},
    {0, jpeg, "a JPEG picture"},
    {0, "GIF8", "a GIF picture"},
    {8, "WEBP", "a WebP picture"},
    {4, "ftypavif", "an AVIF picture"},
    {4, "ftyphei", "a HEIC picture"},
    {4, "ftypmif1", "a HEIC picture"},
    {0, "II*\0"sv, "a TIFF picture"},
    {0, "MM\0*"sv, "a TIFF picture"},
    {0, "BM", "a BMP picture"},
    {0, "%PDF", "a PDF document"},
    {0,
     "\x7f"
     "ELF",
     "a program (ELF)"},
};

Head text_of(std::span<const std::uint8_t> head) {
  return {reinterpret_cast<const char*>(head.data()), std::min(head.size(), file_kind_bytes)};
}

bool starts_with(Head head, std::string_view bytes, std::size_t offset = 0) {
  return head.size() >= offset && head.substr(offset).starts_with(bytes);
}

std::string_view idx_element(char code) {
  switch (code) {
    case 0x08:
      return "unsigned byte";
    case 0x09:
      return "signed byte";
    case 0x0b:
      return "int16";
    case 0x0c:
      return "int32";
    case 0x0d:
      return "float32";
    case 0x0e:
      return "float64";
    default:
      return "";
  }
}

std::string idx_kind(Head head) {
  if (head.size() < 4 || head[0] != 0 || head[1] != 0 || head[3] == 0) return "";
  const std::string_view element = idx_element(head[2]);
  return element.empty() ? "" : fmt::format("IDX data of {} elements", element);
}

bool is_text(Head head) {
  return std::ranges::none_of(head, [](unsigned char c) { return c < 0x20 && !std::isspace(c); });
}

std::string text_kind(Head head) {
  if (starts_with(head, "\xef\xbb\xbf")) head.remove_prefix(3);
  while (!head.empty() && std::isspace(static_cast<unsigned char>(head.front()))) head.remove_prefix(1);
  std::string lower(head.substr(0, head.find('\n')));
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (lower.starts_with("<!doctype html") || lower.starts_with("<html") || lower.starts_with("<head"))
    return "a web page (HTML)";
  if (lower.starts_with("<svg")) return "an SVG picture";
  if (lower.starts_with("<")) return "a web page or XML";
  if (lower.starts_with("{")) return "JSON";
  return std::ranges::count(lower, ',') >= 2 ? "a table (CSV)" : "text";
}

}  // namespace

bool is_gzip(std::span<const std::uint8_t> head) { return starts_with(text_of(head), gzip); }
bool is_zip(std::span<const std::uint8_t> head) {
  return starts_with(text_of(head), zip) || starts_with(text_of(head), empty_zip);
}
bool is_png(std::span<const std::uint8_t> head) { return starts_with(text_of(head), png); }
bool is_jpeg(std::span<const std::uint8_t> head) { return starts_with(text_of(head), jpeg); }
bool is_bmp(std::span<const std::uint8_t> head) {
  // Two letters are no proof; four reserved bytes are zero.
  return starts_with(text_of(head), "BM") && starts_with(text_of(head), "\0\0\0\0"sv, 6);
}

std::string kind_of_file(std::span<const std::uint8_t> bytes) {
  const Head head = text_of(bytes);
  if (head.empty()) return "an empty file";
  // The name of an archive's first member follows 30 bytes of header.
  if (starts_with(head, zip) && head.substr(0, 200).find(".npy") != Head::npos)
    return "a NumPy archive (.npz)";
  for (const Signature& signature : signatures)
    if (starts_with(head, signature.bytes, signature.offset)) return std::string(signature.kind);
  if (std::string idx = idx_kind(head); !idx.empty()) return idx;
  return is_text(head) ? text_kind(head) : "unknown data";
}

}  // namespace mnist
