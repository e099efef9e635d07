// SPDX-License-Identifier: MIT
#include "data/packed_file.h"

#include <fmt/format.h>
#include <zip.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "data/file_kind.h"
#include "kernelgrad/error.h"

namespace mnist {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 16;
constexpr zip_int64_t most_members = 10'000;

[[noreturn]] void fail(const std::string& name, std::string_view what) {
  throw kg::Error(fmt::format("{}: {}", name, what));
}

class PlainFile : public ByteStream {
 public:
  explicit PlainFile(const std::filesystem::path& path)
      : name_(path.string()), file_(std::fopen(path.c_str(), "rb")) {
    if (!file_) fail(name_, fmt::format("cannot be opened: {}", std::strerror(errno)));
  }

  std::size_t read(std::span<std::uint8_t> room) override {
    const std::size_t count = std::fread(room.data(), 1, room.size(), file_.get());
    if (count != room.size() && std::ferror(file_.get()))
      fail(name_, fmt::format("cannot be read: {}", std::strerror(errno)));
    return count;
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  std::string name_;
  std::unique_ptr<std::FILE, Close> file_;
};

struct CloseZip {
  void operator()(zip_t* archive) const { zip_discard(archive); }
  void operator()(zip_file_t* file) const { zip_fclose(file); }
};
using Zip = std::unique_ptr<zip_t, CloseZip>;

Zip open_zip(const std::filesystem::path& path) {
  int code = 0;
  Zip archive(zip_open(path.c_str(), ZIP_RDONLY, &code));
  if (archive) return archive;
  zip_error_t error;
  zip_error_init_with_code(&error, code);
  const std::string reason = zip_error_strerror(&error);
  zip_error_fini(&error);
  fail(path.string(), "the zip archive cannot be opened: " + reason);
}

class ZipMember : public ByteStream {
 public:
  explicit ZipMember(const PackedFile& file)
      : name_(file.name()),
        archive_(open_zip(file.path)),
        file_(zip_fopen(archive_.get(), file.member.c_str(), 0)) {
    if (!file_) fail(name_, fmt::format("cannot be opened: {}", zip_strerror(archive_.get())));
  }

  std::size_t read(std::span<std::uint8_t> room) override {
    std::size_t filled = 0;
    while (filled < room.size()) {
      const zip_int64_t count = zip_fread(file_.get(), room.data() + filled, room.size() - filled);
      if (count < 0)
        fail(name_, fmt::format("the zip archive is damaged: {}", zip_file_strerror(file_.get())));
      if (count == 0) break;
      filled += static_cast<std::size_t>(count);
    }
    return filled;
  }

 private:
  std::string name_;
  Zip archive_;
  std::unique_ptr<zip_file_t, CloseZip> file_;
};

class GzipStream : public ByteStream {
 public:
  GzipStream(std::string name, std::unique_ptr<ByteStream> packed)
      : name_(std::move(name)), packed_(std::move(packed)), input_(chunk_bytes) {
    constexpr int gzip_only = 16 + MAX_WBITS;
    if (inflateInit2(&inflater_, gzip_only) != Z_OK) throw std::bad_alloc();
  }
  ~GzipStream() override { inflateEnd(&inflater_); }
  GzipStream(const GzipStream&) = delete;
  GzipStream& operator=(const GzipStream&) = delete;

  std::size_t read(std::span<std::uint8_t> room) override {
    std::size_t filled = 0;
    while (filled < room.size() && fill_input()) {
      const std::size_t wanted = std::min(room.size() - filled, chunk_bytes);
      inflater_.next_out = room.data() + filled;
      inflater_.avail_out = static_cast<unsigned>(wanted);
      inflate_some();
      filled += wanted - inflater_.avail_out;
    }
    return filled;
  }

 private:
  // False at the end, which must not lie within a stream.
  bool fill_input() {
    if (inflater_.avail_in > 0) return begin_stream();
    const std::size_t count = packed_->read(input_);
    inflater_.next_in = input_.data();
    inflater_.avail_in = static_cast<unsigned>(count);
    if (count > 0) return begin_stream();
    if (in_stream_) fail(name_, "the gzip stream is truncated: the file ends before the stream does");
    return false;
  }

  // What follows a stream must be another one.
  bool begin_stream() {
    if (in_stream_) return true;
    if (streams_ > 0 && *inflater_.next_in != 0x1f)
      fail(name_, "trailing bytes: the file goes on after the end of the gzip stream");
    inflateReset(&inflater_);
    ++streams_;
    return in_stream_ = true;
  }

  void inflate_some() {
    const int code = inflate(&inflater_, Z_NO_FLUSH);
    if (code == Z_STREAM_END) in_stream_ = false;
    if (code == Z_MEM_ERROR) throw std::bad_alloc();
    if (code == Z_DATA_ERROR || code == Z_NEED_DICT)
      fail(name_, fmt::format("the gzip stream is corrupt: {}", inflater_.msg ? inflater_.msg : "damaged"));
  }

  std::string name_;
  std::unique_ptr<ByteStream> packed_;
  std::vector<std::uint8_t> input_;
  z_stream inflater_{};
  bool in_stream_ = false;
  int streams_ = 0;
};

}  // namespace

std::unique_ptr<ByteStream> open_file(const PackedFile& file) {
  std::error_code error;
  const auto type = std::filesystem::status(file.path, error).type();
  if (type == std::filesystem::file_type::not_found) fail(file.path.string(), "no such file");
  if (type == std::filesystem::file_type::directory) fail(file.path.string(), "is a folder, not a file");
  if (type != std::filesystem::file_type::regular)
    fail(file.path.string(), error ? error.message() : "is not a regular file");
  if (file.member.empty()) return std::make_unique<PlainFile>(file.path);
  return std::make_unique<ZipMember>(file);
}

std::unique_ptr<ByteStream> open_unpacked(const PackedFile& file) {
  if (!is_gzip(read_head(*open_file(file), file_kind_bytes))) return open_file(file);
  return std::make_unique<GzipStream>(file.name(), open_file(file));
}

std::vector<std::uint8_t> read_head(ByteStream& stream, std::size_t count) {
  std::vector<std::uint8_t> head;
  std::size_t wanted = 0, got = 0;
  while (got == wanted && head.size() < count) {
    const std::size_t start = head.size();
    wanted = std::min(chunk_bytes, count - start);
    head.resize(start + wanted);
    got = stream.read(std::span(head).subspan(start));
    head.resize(start + got);
  }
  return head;
}

std::vector<std::string> zip_members(const std::filesystem::path& path) {
  const Zip archive = open_zip(path);
  const zip_int64_t count = zip_get_num_entries(archive.get(), 0);
  if (count > most_members)
    fail(path.string(),
         fmt::format("the zip archive holds {} files, expected at most {}", count, most_members));
  std::vector<std::string> names;
  for (zip_int64_t i = 0; i < count; ++i) {
    const char* name = zip_get_name(archive.get(), static_cast<zip_uint64_t>(i), 0);
    if (name && *name && !std::string_view(name).ends_with('/')) names.emplace_back(name);
  }
  return names;
}

}  // namespace mnist
