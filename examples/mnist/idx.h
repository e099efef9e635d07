#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace mnist {

/// The content of one IDX file of unsigned bytes.
struct IdxFile {
  std::vector<std::int64_t> dims;  ///< outermost first: {count, height, width} for images, {count} for labels
  std::vector<std::uint8_t> data;  ///< the product of `dims` bytes, last dimension fastest
};

/// Reads an IDX file of unsigned bytes (magic 0x000008RR, RR = number of dimensions, then one big-endian
/// 32-bit size per dimension, then the data; Y. LeCun, "The MNIST database of handwritten digits"), plain or
/// gzipped. Which of the two it is follows from the content, whatever the file's name.
///
/// Throws kg::Error, naming the file and what was expected, when it is missing, unreadable, no IDX file of
/// unsigned bytes, shorter or longer than its header announces, or damaged inside its gzip stream. The memory
/// used is proportional to the data that is there, whatever the header announces. As in gzip itself, bytes
/// after the end of the gzip stream are ignored.
IdxFile read_idx(const std::filesystem::path& path);

}  // namespace mnist
