#include "idx.h"

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
  CHECK(contains(error_reading(directory.path()), "not a regular file"));
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
      {"an empty file", {}, "header is truncated"},
      {"half a magic number", {0, 0, 8}, "ends before its magic number"},
      {"half a size", Bytes(good.begin(), good.begin() + 10), "ends before its size 2 of 2"},
      {"signed bytes", with_magic({0, 0, 9, 2}), "magic number is 0x00000902, expected 0x000008RR"},
      {"a little-endian magic number", with_magic({2, 8, 0, 0}), "magic number is 0x02080000"},
      {"no dimensions", with_magic({0, 0, 8, 0}), "magic number is 0x00000800"},
      {"text", with_magic({'<', 'h', 't', 'm'}), "0x00000801 for labels, 0x00000803 for images"},
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

}  // namespace
}  // namespace mnist
