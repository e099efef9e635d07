// SPDX-License-Identifier: MIT
#pragma once

#include <zip.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error_of.h"
#include "temporary_directory.h"

namespace mnist {

using Bytes = std::vector<std::uint8_t>;

using kg::testing::contains;
using kg::testing::error_of;
using kg::testing::TemporaryDirectory;

/// What recipes normalise grey images with.
constexpr float pixel_mean = 0.1307f, pixel_std = 0.3081f;

inline Bytes idx_header(const std::vector<std::uint32_t>& dims) {
  Bytes bytes = {0, 0, 8, static_cast<std::uint8_t>(dims.size())};
  for (const std::uint32_t dim : dims)
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::uint8_t>(dim >> shift));
  return bytes;
}

inline Bytes idx_bytes(const std::vector<std::uint32_t>& dims, const Bytes& data) {
  Bytes bytes = idx_header(dims);
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

inline Bytes bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

inline std::filesystem::path write_plain(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return path;
}

using Members = std::vector<std::pair<std::string, Bytes>>;

inline std::filesystem::path write_zip(const std::filesystem::path& path, const Members& members) {
  zip_t* archive = zip_open(path.c_str(), ZIP_CREATE | ZIP_TRUNCATE, nullptr);
  for (const auto& [name, bytes] : members) {
    zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
    if (zip_file_add(archive, name.c_str(), source, 0) < 0) throw std::runtime_error("no member " + name);
  }
  if (zip_close(archive) != 0) throw std::runtime_error("no archive " + path.string());
  return path;
}

inline Bytes gzip(const Bytes& bytes) {
  z_stream stream{};
  deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  Bytes zipped(deflateBound(&stream, bytes.size()));
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<unsigned>(bytes.size());
  stream.next_out = zipped.data();
  stream.avail_out = static_cast<unsigned>(zipped.size());
  deflate(&stream, Z_FINISH);
  zipped.resize(stream.total_out);
  deflateEnd(&stream);
  return zipped;
}

inline std::filesystem::path write_gzip(const std::filesystem::path& path, const Bytes& bytes) {
  return write_plain(path, gzip(bytes));
}

inline Bytes read_plain(const std::filesystem::path& path) {
  const std::string content = kg::testing::content_of(path);
  return {content.begin(), content.end()};
}

inline std::string text_of(const std::filesystem::path& path) { return kg::testing::content_of(path); }

}  // namespace mnist
