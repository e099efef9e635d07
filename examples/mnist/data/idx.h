// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/packed_file.h"

namespace mnist {

/// What the elements of an IDX file are. Others exist, and are refused.
enum class IdxType : std::uint8_t { uint8 = 0x08, int32 = 0x0c };

/// The content of one IDX file.
struct IdxFile {
  std::vector<std::int64_t> dims;  ///< outermost first: {count, height, width} for images, {count} for labels
  std::vector<std::uint8_t> data;  ///< as in the file, last dimension fastest; of int32 the high byte first
};

/// Whether these first bytes are of IDX data that IdxReader reads.
bool is_idx(std::span<const std::uint8_t> head);

/// What a file, decompressed if it is gzip data, is by its first bytes: "a web page (HTML) within gzip data
/// (magic number 0x3c21444f)".
std::string describe_content(const PackedFile& file);

/// Reads an IDX file (magic 0x0000TTRR, TT = type of the elements, RR = number of dimensions, then one
/// big-endian 32-bit size per dimension, then the data; Y. LeCun, "The MNIST database of handwritten
/// digits"), plain, gzipped, or either in a zip archive. Which of these follows from the content, whatever
/// the name.
///
/// The sizes are there before the data are read, so that what nobody wants costs nothing.
class IdxReader {
 public:
  /// Reads the header. Throws kg::Error, naming the file and what was expected, when it is missing,
  /// unreadable or no IDX file of unsigned bytes or int32.
  explicit IdxReader(PackedFile file);

  IdxType type() const { return type_; }
  const std::vector<std::int64_t>& dims() const { return dims_; }

  /// Reads the data, once. Throws kg::Error when there is less or more of it than the header announces, or
  /// when a checksum of gzip or zip is wrong or missing. The memory used is proportional to the data that is
  /// there, whatever the header announces.
  std::vector<std::uint8_t> read_data();

 private:
  std::uint32_t read_big_endian(const std::string& field);

  PackedFile file_;
  std::unique_ptr<ByteStream> bytes_;
  IdxType type_;
  std::vector<std::int64_t> dims_;
};

/// The whole of an IDX file of unsigned bytes. Throws kg::Error as IdxReader does, and for int32.
IdxFile read_idx(const PackedFile& file);

}  // namespace mnist
