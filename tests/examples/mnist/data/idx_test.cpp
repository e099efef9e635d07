// SPDX-License-Identifier: MIT
#include "data/idx.h"

#include <sys/resource.h>

#include "catch.h"
#include "idx_fixture.h"
#include "kernelgrad/random.h"

namespace mnist {
namespace {

// Bytes that do not compress, so that a gzip stream of them has blocks to damage.
Bytes noise(std::size_t count) {
  kg::RandomStream random(7, kg::RandomPurpose::user);
  Bytes bytes(count);
  for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random.below(256));
  return bytes;
}

std::string error_reading(const std::filesystem::path& path) {
  return error_of([&] { read_idx(path); });
}

TEST_CASE("read_idx returns sizes and data, plain or gzipped, whatever the name", "[idx]") {
  const TemporaryDirectory directory;
  const auto [dims, count] = GENERATE(table<std::vector<std::uint32_t>, std::size_t>({
      {{1}, 1},
      {{0}, 0},
      {{7}, 7},
      {{3, 5}, 15},
      {{3, 31, 33}, 3069},
      {{2, 1500, 1001}, 3003000},  // more than one chunk of reading, and no multiple of it
  }));
  const Bytes data = noise(count);
  const Bytes file = idx_bytes(dims, data);
  for (const auto& path : {write_plain(directory / "a.gz", file), write_gzip(directory / "b", file)}) {
    const IdxFile idx = read_idx(path);
    CHECK(idx.dims == std::vector<std::int64_t>(dims.begin(), dims.end()));
    CHECK(idx.data == data);
  }
}

TEST_CASE("read_idx names a file that is missing or no file", "[idx]") {
  const TemporaryDirectory directory;
  const auto missing = directory / "missing";
  CHECK(contains(error_reading(missing), missing.string()));
  CHECK(contains(error_reading(missing), "no such file"));
  CHECK(contains(error_reading(directory.path()), directory.path().string()));
  CHECK(contains(error_reading(directory.path()), "is a folder, not a file"));
}

TEST_CASE("read_idx refuses what does not match its header", "[idx]") {
  struct Case {
    std::string what;
    Bytes file;
    std::string message;
  };
  const Bytes good = idx_bytes({2, 3}, noise(6));
  const auto with_magic = [&](Bytes magic) {
    Bytes file = good;
    std::copy(magic.begin(), magic.end(), file.begin());
    return file;
  };
  const std::vector<Case> cases = {
      {"an empty file", {}, "is an empty file"},
      {"half a magic number", {0, 0, 8}, "(3 bytes), expected IDX data of unsigned bytes"},
      {"a magic number alone", {0, 0, 8, 1}, "ends before its size 1 of 1"},
      {"half a size", Bytes(good.begin(), good.begin() + 10), "ends before its size 2 of 2"},
      {"signed bytes", with_magic({0, 0, 9, 2}), "IDX data of signed byte elements"},
      {"a little-endian magic number", with_magic({2, 8, 0, 0}), "magic number 0x02080000"},
      {"no dimensions", with_magic({0, 0, 8, 0}), "magic number 0x00000800"},
      {"int16", with_magic({0, 0, 11, 2}), "IDX data of int16 elements"},
      {"int32", with_magic({0, 0, 12, 2}), "IDX data of int32 elements, expected unsigned bytes"},
      {"float32", with_magic({0, 0, 13, 2}), "IDX data of float32 elements"},
      {"float64", with_magic({0, 0, 14, 2}), "IDX data of float64 elements"},
      {"an unknown type", with_magic({0, 0, 10, 2}), "magic number 0x00000a02"},
      {"text", with_magic({'t', 'e', 'x', 't'}), "0x00000801 for labels, 0x00000803 for images"},
      {"missing data", Bytes(good.begin(), good.end() - 1), "announces 6 bytes, the file holds 5"},
      {"no data", idx_header({2, 3}), "announces 6 bytes, the file holds 0"},
      {"trailing data", idx_bytes({2, 3}, noise(7)), "trailing bytes: the header announces 6 bytes"},
      {"a product beyond 2^63", idx_header({0xffffffff, 0xffffffff, 0xffffffff}),
       "sizes in the header overflows"},
      {"a product that wraps to 0", idx_header({1u << 31, 1u << 31, 4}), "sizes in the header overflows"},
  };
  const TemporaryDirectory directory;
  for (const Case& c : cases) {
    INFO(c.what);
    for (const auto& path :
         {write_plain(directory / "plain", c.file), write_gzip(directory / "zipped", c.file)}) {
      const std::string message = error_reading(path);
      INFO(message);
      CHECK(contains(message, c.message));
      CHECK(contains(message, path.string()));
    }
  }
}

TEST_CASE("read_idx allocates no more than the file can hold", "[idx]") {
  const Bytes hostile = idx_bytes({0x7fffffff, 0x7fffffff}, noise(100));
  const TemporaryDirectory directory;
  const auto peak_kilobytes = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak_kilobytes();
  for (const auto& path :
       {write_plain(directory / "plain", hostile), write_gzip(directory / "zipped", hostile)})
    CHECK(contains(error_reading(path), "the file holds 100"));
  CHECK(peak_kilobytes() - before < 20000);
}

TEST_CASE("read_idx refuses a gzip stream cut off anywhere", "[idx]") {
  const TemporaryDirectory directory;
  const Bytes zipped = read_plain(write_gzip(directory / "whole", idx_bytes({300}, noise(300))));
  for (std::size_t length = 0; length < zipped.size(); ++length) {
    const auto path =
        write_plain(directory / "cut", Bytes(zipped.begin(), zipped.begin() + static_cast<long>(length)));
    const std::string message = error_reading(path);
    INFO("cut after " << length << " of " << zipped.size() << " bytes: " << message);
    CHECK(contains(message, path.string()));
    if (length > 10) CHECK(contains(message, "gzip stream is truncated"));
  }
}

TEST_CASE("read_idx refuses a gzip stream with any damaged bit", "[idx]") {
  const TemporaryDirectory directory;
  const Bytes zipped = read_plain(write_gzip(directory / "whole", idx_bytes({300}, noise(300))));
  constexpr std::size_t header = 10;
  for (std::size_t i = header; i < zipped.size(); ++i) {
    Bytes damaged = zipped;
    damaged[i] ^= static_cast<std::uint8_t>(1u << (i % 8));
    const auto path = write_plain(directory / "damaged", damaged);
    const std::string message = error_reading(path);
    INFO("byte " << i << " of " << zipped.size() << ": " << message);
    CHECK(contains(message, path.string()));
  }

  Bytes wrong_checksum = zipped;
  wrong_checksum[zipped.size() - 8] ^= 1;
  CHECK(contains(error_reading(write_plain(directory / "crc", wrong_checksum)), "gzip stream is corrupt"));
}

TEST_CASE("read_idx says what a file is that is no IDX file", "[idx]") {
  using namespace std::string_literals;
  const TemporaryDirectory directory;
  const Bytes good = idx_bytes({2}, {1, 2});
  const std::vector<std::pair<Bytes, std::string>> cases = {
      {bytes_of("<!DOCTYPE html><title>403 Forbidden</title>"), "is a web page (HTML)"},
      {bytes_of("\xef\xbb\xbf \r\n<HTML><head>"), "is a web page (HTML)"},
      {bytes_of("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"), "is a web page or XML"},
      {bytes_of("{\"error\": \"not found\"}"), "is JSON"},
      {bytes_of("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
       "is a Git LFS pointer"},
      {bytes_of("label,1x1,1x2,1x3\n5,0,0,0\n"), "is a table (CSV)"},
      {bytes_of("404: Not Found"), "is text"},
      {bytes_of("BZh91AY&SY"), "is bzip2 data"},
      {bytes_of("\xfd"s + "7zXZ\0"s), "is xz data"},
      {bytes_of("\x28\xb5\x2f\xfd\4"), "is Zstandard data"},
      {bytes_of("7z\xbc\xaf\x27\x1c"), "is a 7-Zip archive"},
      {bytes_of(std::string(257, 'a') + "ustar"), "is a tar archive"},
      {bytes_of("\x93NUMPY\1"), "is a NumPy array"},
      {bytes_of("MATLAB 5.0 MAT-file"), "is a MATLAB file"},
      {bytes_of("\x89PNG\r\n\x1a\n"), "is a PNG picture"},
      {gzip(good), "is gzip data within gzip data"},
  };
  for (const auto& [content, message] : cases) {
    const std::string plain = error_reading(write_plain(directory / "plain", content));
    const std::string zipped = error_reading(write_gzip(directory / "zipped", content));
    INFO(plain << "\n" << zipped);
    // Gzip data in itself is read.
    CHECK(contains(plain, content == cases.back().first ? "nothing was thrown" : message));
    CHECK(contains(zipped, message));
    CHECK(contains(zipped, "within gzip data"));
  }
  const std::string archive = error_reading(write_zip(directory / "a.zip", {{"data", good}}));
  CHECK(contains(archive, "is a zip archive"));
  const std::string numpy = error_reading(write_zip(directory / "a.npz", {{"arr_0.npy", good}}));
  CHECK(contains(numpy, "is a NumPy archive (.npz)"));
}

TEST_CASE("read_idx reads several gzip streams as one, and nothing behind them", "[idx]") {
  const TemporaryDirectory directory;
  const Bytes data = noise(1000), file = idx_bytes({1000}, data);
  for (const std::size_t cut : {std::size_t{3}, std::size_t{8}, std::size_t{500}}) {
    Bytes zipped = gzip({file.begin(), file.begin() + static_cast<long>(cut)});
    const Bytes rest = gzip({file.begin() + static_cast<long>(cut), file.end()});
    zipped.insert(zipped.end(), rest.begin(), rest.end());
    CHECK(read_idx(write_plain(directory / "two", zipped)).data == data);
    zipped.resize(zipped.size() - 1);
    CHECK(contains(error_reading(write_plain(directory / "cut", zipped)), "gzip stream is truncated"));
  }
  for (const std::string_view more : {"garbage", "\x1f", "\x1f\x8b"}) {
    Bytes zipped = gzip(file);
    zipped.insert(zipped.end(), more.begin(), more.end());
    CHECK(contains(error_reading(write_plain(directory / "more", zipped)), (directory / "more").string()));
  }
}

TEST_CASE("read_idx reads a member of a zip archive, and sees that it is damaged", "[idx]") {
  const TemporaryDirectory directory;
  const Bytes data = noise(1000), file = idx_bytes({1000}, data);
  const auto path = write_zip(directory / "a.zip", {{"b/plain", file}, {"zipped", gzip(file)}, {"b/", {}}});
  CHECK(zip_members(path) == std::vector<std::string>{"b/plain", "zipped"});
  CHECK(read_idx({path, "b/plain"}).data == data);
  CHECK(read_idx({path, "zipped"}).data == data);
  CHECK(contains(error_of([&] { read_idx({path, "nowhere"}); }), path.string() + ": nowhere"));

  Bytes archive = read_plain(path);
  archive[500] ^= 1;  // in the data of the first member
  write_plain(path, archive);
  CHECK(contains(error_of([&] { read_idx({path, "b/plain"}); }), "the zip archive is damaged"));
  archive.resize(archive.size() / 2);
  CHECK(contains(error_of([&] { zip_members(write_plain(path, archive)); }), "cannot be opened"));
}

}  // namespace
}  // namespace mnist
