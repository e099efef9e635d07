// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernelgrad/error.h"

namespace mnist {

/// A file, or a member of a zip archive.
struct PackedFile {
  std::filesystem::path path;
  std::string member;  ///< its name in the archive; empty for the file itself

  // NOLINTNEXTLINE(google-explicit-constructor): read_idx(path)
  PackedFile(std::filesystem::path path, std::string member = "")
      : path(std::move(path)), member(std::move(member)) {}

  /// For messages: "archive.zip: member", made printable.
  std::string name() const {
    return kg::printable(member.empty() ? path.string() : path.string() + ": " + member);
  }
};

/// Bytes from front to back.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  /// Fills `room`; returns how many bytes there were, less than asked for only at the end, where whatever
  /// checksum the stream has was right. Throws kg::Error, naming the file, if it is damaged, cut off,
  /// followed by something else, or cannot be read.
  virtual std::size_t read(std::span<std::uint8_t> room) = 0;
};

/// The bytes of the file as they are stored. Throws kg::Error, naming it, unless it is a regular file, or a
/// member of a zip archive, that can be opened.
std::unique_ptr<ByteStream> open_file(const PackedFile& file);

/// The bytes of the file, decompressed if its content is gzip data, of one member or of several.
std::unique_ptr<ByteStream> open_unpacked(const PackedFile& file);

/// The first `count` bytes, or all if there are fewer.
std::vector<std::uint8_t> read_head(ByteStream& stream, std::size_t count);

/// The names of the files in a zip archive, folders left out. Throws kg::Error, naming it, if it is none or
/// holds more than 10,000.
std::vector<std::string> zip_members(const std::filesystem::path& archive);

}  // namespace mnist
