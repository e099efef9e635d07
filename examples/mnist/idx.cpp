#include "idx.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <string_view>

#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr std::uint32_t unsigned_bytes = 0x08;
constexpr std::size_t chunk_bytes = std::size_t{1} << 20;

[[noreturn]] void fail(const std::filesystem::path& path, std::string_view what) {
  throw kg::Error(fmt::format("idx: {}: {}", path.string(), what));
}

// The uncompressed bytes of a file, from front to back. zlib passes files without a gzip header through as
// they are.
class Bytes {
 public:
  explicit Bytes(const std::filesystem::path& path) : path_(path), file_(gzopen(path.c_str(), "rb")) {
    if (!file_) fail(path, fmt::format("cannot be opened: {}", std::strerror(errno)));
  }

  // Fills `room` (at most chunk_bytes) from the file; returns how much there was, less than asked for only at
  // the end.
  std::size_t read(std::span<std::uint8_t> room) {
    const int count = gzread(file_.get(), room.data(), static_cast<unsigned>(room.size()));
    if (count != static_cast<int>(room.size())) check_gzip();
    return static_cast<std::size_t>(count);
  }

 private:
  struct Close {
    void operator()(gzFile file) const { gzclose(file); }
  };

  void check_gzip() const {
    int code = Z_OK;
    const char* message = gzerror(file_.get(), &code);
    if (code == Z_BUF_ERROR)
      fail(path_, "the gzip stream is truncated: the file ends before the stream does");
    if (code == Z_ERRNO) fail(path_, fmt::format("cannot be read: {}", std::strerror(errno)));
    if (code < 0) fail(path_, fmt::format("the gzip stream is corrupt: {}", message));
  }

  const std::filesystem::path& path_;
  std::unique_ptr<gzFile_s, Close> file_;
};

std::uint32_t read_big_endian(const std::filesystem::path& path, Bytes& bytes, std::string_view field) {
  std::array<std::uint8_t, 4> raw;
  if (bytes.read(raw) != raw.size())
    fail(path, fmt::format("the header is truncated: the file ends before its {} (4 bytes)", field));
  return std::uint32_t{raw[0]} << 24 | std::uint32_t{raw[1]} << 16 | std::uint32_t{raw[2]} << 8 | raw[3];
}

std::vector<std::int64_t> read_dims(const std::filesystem::path& path, Bytes& bytes) {
  const std::uint32_t magic = read_big_endian(path, bytes, "magic number");
  const std::uint32_t rank = magic & 0xff;
  if (magic >> 8 != unsigned_bytes || rank == 0)
    fail(path, fmt::format(
                   "the magic number is {:#010x}, expected 0x000008RR with RR dimensions of unsigned bytes: "
                   "0x00000801 for labels, 0x00000803 for images",
                   magic));
  std::vector<std::int64_t> dims;
  for (std::uint32_t i = 0; i < rank; ++i)
    dims.push_back(read_big_endian(path, bytes, fmt::format("size {} of {}", i + 1, rank)));
  return dims;
}

std::size_t announced_bytes(const std::filesystem::path& path, std::span<const std::int64_t> dims) {
  constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();
  std::int64_t total = 1;
  for (const std::int64_t dim : dims) {
    if (dim != 0 && total > largest / dim)
      fail(path,
           fmt::format(
               "the product of the {} sizes in the header overflows, expected less than 2^63 bytes of data",
               dims.size()));
    total *= dim;
  }
  return static_cast<std::size_t>(total);
}

std::vector<std::uint8_t> read_data(const std::filesystem::path& path, Bytes& bytes, std::size_t announced) {
  std::vector<std::uint8_t> data;
  // Exact for a plain file. What a hostile header announces is never allocated before that much has arrived.
  data.reserve(std::min<std::uintmax_t>(announced, std::filesystem::file_size(path)));
  while (data.size() < announced) {
    const std::size_t start = data.size();
    const std::size_t wanted = std::min(chunk_bytes, announced - start);
    data.resize(start + wanted);
    const std::size_t got = bytes.read(std::span(data).subspan(start));
    if (got != wanted)
      fail(path, fmt::format("the data is truncated: the header announces {} bytes, the file holds {}",
                             announced, start + got));
  }
  std::uint8_t extra;
  if (bytes.read({&extra, 1}) != 0)
    fail(path, fmt::format("trailing bytes: the header announces {} bytes of data, the file holds more",
                           announced));
  return data;
}

}  // namespace

IdxFile read_idx(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) fail(path, "no such file, expected an IDX file, plain or gzipped");
  if (!std::filesystem::is_regular_file(path))
    fail(path, "not a regular file, expected an IDX file, plain or gzipped");
  Bytes bytes(path);
  IdxFile file;
  file.dims = read_dims(path, bytes);
  file.data = read_data(path, bytes, announced_bytes(path, file.dims));
  return file;
}

}  // namespace mnist
