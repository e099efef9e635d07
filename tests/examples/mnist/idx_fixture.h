#pragma once

#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernelgrad/error.h"
#include "temporary_directory.h"

namespace mnist {

using Bytes = std::vector<std::uint8_t>;

using kg::testing::TemporaryDirectory;

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

inline std::filesystem::path write_plain(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return path;
}

inline std::filesystem::path write_gzip(const std::filesystem::path& path, const Bytes& bytes) {
  const gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
  return path;
}

inline Bytes read_plain(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::string text_of(const std::filesystem::path& path) {
  const Bytes bytes = read_plain(path);
  return {bytes.begin(), bytes.end()};
}

/// The message of the kg::Error that `action` throws; "nothing was thrown" without one.
template <typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const kg::Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace mnist
