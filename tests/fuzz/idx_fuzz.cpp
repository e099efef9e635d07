// SPDX-License-Identifier: MIT
/// IDX files, plain, gzipped and in zip archives: what is accepted has the size that its header says, and
/// written plainly reads as the same.

#include "data/dataset.h"
#include "data/idx.h"
#include "fuzz/fuzz.h"
#include "kernelgrad/error.h"

namespace {

using kg::fuzz::MemoryFile;
using kg::fuzz::require;

std::vector<std::uint8_t> plain(const mnist::IdxFile& idx) {
  std::vector<std::uint8_t> bytes = {0, 0, 8, static_cast<std::uint8_t>(idx.dims.size())};
  for (const std::int64_t dim : idx.dims)
    for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<std::uint8_t>(dim >> shift));
  bytes.insert(bytes.end(), idx.data.begin(), idx.data.end());
  return bytes;
}

void check_idx(const mnist::PackedFile& packed) {
  mnist::IdxFile idx;
  try {
    idx = mnist::read_idx(packed);
  } catch (const kg::Error&) {
    return;
  }
  std::size_t size = 1;
  for (const std::int64_t dim : idx.dims) size *= static_cast<std::size_t>(dim);
  require(size == idx.data.size(), "more or less data than the header says");
  static MemoryFile copy;
  copy.write(plain(idx));
  const mnist::IdxFile again = mnist::read_idx(copy.path());
  require(again.dims == idx.dims && again.data == idx.data, "what was read and written reads differently");
}

std::vector<std::string> members(const std::filesystem::path& path) try {
  return mnist::zip_members(path);
} catch (const kg::Error&) {
  return {};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  file.write(std::span(data, size));
  check_idx(file.path());
  for (const std::string& member : members(file.path()))
    if (!member.empty()) check_idx({file.path(), member});
  try {
    const mnist::Dataset dataset = mnist::load_dataset(file.path());
    for (const mnist::Split& split : {dataset.train, dataset.test})
      require(split.labels.size() * 28 * 28 == split.images.size(), "not one label for each image");
  } catch (const kg::Error&) {
  }
  return 0;
}
