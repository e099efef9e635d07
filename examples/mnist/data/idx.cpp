// SPDX-License-Identifier: MIT
#include "data/idx.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include "data/file_kind.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

[[noreturn]] void fail(const PackedFile& file, std::string_view what) {
  throw kg::Error(fmt::format("idx: {}: {}", file.name(), what));
}

std::size_t announced_bytes(const PackedFile& file, std::span<const std::int64_t> dims, IdxType type) {
  constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  std::int64_t total = type == IdxType::int32 ? 4 : 1;
  for (const std::int64_t dim : dims) {
    if (dim != 0 && total > largest / dim)
      fail(file,
           fmt::format(
               "the product of the {} sizes in the header overflows, expected less than 2^63 bytes of data",
               dims.size()));
    total *= dim;
  }
  return static_cast<std::size_t>(total);
}

}  // namespace

bool is_idx(std::span<const std::uint8_t> head) {
  const auto known = {IdxType::uint8, IdxType::int32};
  return head.size() >= 4 && head[0] == 0 && head[1] == 0 && head[3] > 0 &&
         std::ranges::find(known, IdxType{head[2]}) != known.end();
}

std::string describe_content(const PackedFile& file) {
  const std::vector<std::uint8_t> head = read_head(*open_unpacked(file), file_kind_bytes);
  const bool gzipped = is_gzip(read_head(*open_file(file), file_kind_bytes));
  const std::string number = head.size() < 4 ? fmt::format("{} bytes", head.size())
                                             : fmt::format("magic number 0x{:02x}{:02x}{:02x}{:02x}", head[0],
                                                           head[1], head[2], head[3]);
  return fmt::format("{}{} ({})", kind_of_file(head), gzipped ? " within gzip data" : "", number);
}

IdxReader::IdxReader(PackedFile file) : file_(std::move(file)) {
  if (!is_idx(read_head(*open_unpacked(file_), 4)))
    fail(file_, fmt::format("is {}, expected IDX data of unsigned bytes (magic number 0x000008RR with RR "
                            "sizes: 0x00000801 for "
                            "labels, 0x00000803 for images), plain, gzipped or zipped",
                            describe_content(file_)));
  bytes_ = open_unpacked(file_);
  const std::uint32_t magic = read_big_endian("magic number");
  type_ = IdxType{static_cast<std::uint8_t>(magic >> 8)};
  const std::uint32_t rank = magic & 0xff;
  for (std::uint32_t i = 0; i < rank; ++i)
    dims_.push_back(read_big_endian(fmt::format("size {} of {}", i + 1, rank)));
}

std::uint32_t IdxReader::read_big_endian(const std::string& field) {
  std::array<std::uint8_t, 4> raw;
  if (bytes_->read(raw) != raw.size())
    fail(file_, fmt::format("the header is truncated: the file ends before its {} (4 bytes)", field));
  return std::uint32_t{raw[0]} << 24 | std::uint32_t{raw[1]} << 16 | std::uint32_t{raw[2]} << 8 | raw[3];
}

std::vector<std::uint8_t> IdxReader::read_data() {
  const std::size_t announced = announced_bytes(file_, dims_, type_);
  std::vector<std::uint8_t> data;
  // Exact for a plain file. What a hostile header announces is never allocated before that much has arrived.
  data.reserve(std::min<std::uintmax_t>(announced, std::filesystem::file_size(file_.path)));
  while (data.size() < announced) {
    const std::size_t start = data.size();
    const std::size_t wanted = std::min(chunk_bytes, announced - start);
    data.resize(start + wanted);
    const std::size_t got = bytes_->read(std::span(data).subspan(start));
    if (got != wanted)
      fail(file_, fmt::format("the data is truncated: the header announces {} bytes, the file holds {}",
                              announced, start + got));
  }
  std::uint8_t extra;
  if (bytes_->read({&extra, 1}) != 0)
    fail(file_, fmt::format("trailing bytes: the header announces {} bytes of data, the file holds more",
                            announced));
  return data;
}

IdxFile read_idx(const PackedFile& file) {
  IdxReader reader(file);
  if (reader.type() != IdxType::uint8) fail(file, "is IDX data of int32 elements, expected unsigned bytes");
  return {.dims = reader.dims(), .data = reader.read_data()};
}

}  // namespace mnist
