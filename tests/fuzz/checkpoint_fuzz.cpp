// SPDX-License-Identifier: MIT
/// Checkpoints: what is accepted has the elements that lie in the file, comes back from a file of our own as
/// it was, and fits into a module or is an error. Messages hold nothing that commands a terminal.

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "fuzz/fuzz.h"
#include "kernelgrad/kernelgrad.h"
#include "temporary_directory.h"

// Nothing here has to outlast a power cut, and the disk would be most of the time.
extern "C" int fsync(int) { return 0; }

namespace {

using kg::fuzz::require;

void check_message(const kg::Error& error) {
  const std::string_view text = error.what();
  require(kg::printable(text) == text || text.size() > 4096, "a message holds control characters");
}

/// Elements and shape, as a tree of the header's JSON describes them.
void check_against_tree(const kg::Checkpoint& checkpoint, std::span<const std::uint8_t> file) {
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof length);
  const auto header =
      nlohmann::json::parse(file.begin() + 8, file.begin() + 8 + static_cast<std::ptrdiff_t>(length));
  const std::size_t names = checkpoint.tensors.size() + checkpoint.unreadable.size();
  require(header.size() == names + header.contains("__metadata__"), "tensors are lost or made up");
  if (header.contains("__metadata__"))
    require(header.at("__metadata__") == nlohmann::json(checkpoint.metadata), "the metadata differ");
  for (const auto& [name, tensor] : checkpoint.tensors) {
    const auto& entry = header.at(name);
    require(entry.at("shape") == nlohmann::json(tensor.shape()), "a shape differs");
    const std::size_t begin = entry.at("data_offsets").at(0), end = entry.at("data_offsets").at(1);
    const std::string dtype = entry.at("dtype");
    const std::span<const std::byte> bytes = tensor.bytes();
    if (dtype == "F32" || dtype == "F64" || dtype == "I32" || dtype == "I64" || dtype == "U8")
      require(std::ranges::equal(std::as_bytes(file.subspan(8 + length + begin, end - begin)), bytes),
              "elements differ");
  }
}

kg::Checkpoint in_order_of_names(kg::Checkpoint checkpoint) {
  std::ranges::sort(checkpoint.tensors, {}, &kg::nn::NamedTensor::name);
  return checkpoint;
}

void check_equal(const kg::Checkpoint& a, const kg::Checkpoint& b) {
  require(a.metadata == b.metadata, "the metadata differ after saving");
  require(a.tensors.size() == b.tensors.size(), "tensors are lost in saving");
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    const kg::Tensor &x = a.tensors[i].tensor, &y = b.tensors[i].tensor;
    require(a.tensors[i].name == b.tensors[i].name && x.shape() == y.shape() && x.dtype() == y.dtype() &&
                std::ranges::equal(x.bytes(), y.bytes()),
            "a tensor differs after saving");
  }
}

void check_saving(const kg::Checkpoint& loaded) {
  static const kg::testing::TemporaryDirectory directory;
  const auto path = directory / "saved";
  kg::save_checkpoint(path, loaded);
  const std::string bytes = kg::testing::content_of(path);
  const kg::Checkpoint again = kg::load_checkpoint(path);
  check_equal(in_order_of_names(loaded), in_order_of_names(again));
  kg::save_checkpoint(path, again);
  require(kg::testing::content_of(path) == bytes, "equal checkpoints give different bytes");
}

void check_loading_into_a_module(const kg::Checkpoint& checkpoint) {
  for (const bool strict : {false, true}) {
    kg::nn::BatchNorm2d module(2);
    try {
      const kg::nn::LoadResult result =
          module.load_state_dict(checkpoint.tensors, {.strict = strict, .unreadable = checkpoint.unreadable});
      const std::size_t names = checkpoint.tensors.size() + checkpoint.unreadable.size();
      require(result.unexpected_keys.size() <= names, "more names than there are");
      require(!strict || result.unexpected_keys.size() + result.missing_keys.size() == 0,
              "names are left over though that is an error");
    } catch (const kg::Error& error) {
      check_message(error);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static kg::fuzz::MemoryFile file;
  file.write(std::span(data, size));
  kg::Checkpoint checkpoint;
  try {
    checkpoint = kg::load_checkpoint(file.path());
  } catch (const kg::Error& error) {
    check_message(error);
    return 0;
  }
  check_against_tree(checkpoint, {data, size});
  check_saving(checkpoint);
  check_loading_into_a_module(checkpoint);
  return 0;
}
