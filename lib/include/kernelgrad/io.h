#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <map>
#include <string>

#include "kernelgrad/nn.h"

namespace kg {

/// Writes a file as a whole or not at all: `write` fills a temporary file beside `path`, which is flushed to
/// disk and renamed to `path` only when everything was written. Throws Error naming the path, with the
/// temporary removed and an existing file untouched, if anything fails; what `write` throws passes through
/// likewise.
void write_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write);

/// A file in the safetensors format: named tensors, and free text under names of one's own.
struct Checkpoint {
  nn::StateDict tensors = {};
  std::map<std::string, std::string> metadata = {};
};

/// Writes a checkpoint with write_file(), readable by Python's `safetensors`. Equal checkpoints give equal
/// bytes. Throws Error on two tensors of one name and where write_file() does.
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

/// Reads a safetensors file into CPU tensors. The file is not trusted: throws Error, naming the file and the
/// tensor, if the header is truncated, too large, no JSON or of the wrong form, if a tensor's type is none of
/// F32, F64, U8, I32 and I64, if its offsets do not match its shape, overlap, leave gaps or reach past the
/// end.
Checkpoint load_checkpoint(const std::filesystem::path& path);

}  // namespace kg
