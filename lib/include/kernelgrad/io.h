// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <functional>
#include <iosfwd>
#include <map>
#include <string>

#include "kernelgrad/export.h"
#include "kernelgrad/state_dict.h"

namespace KG_API kg {

/// Writes a file as a whole or not at all: `write` fills a temporary file in the same folder, which is
/// flushed to disk and renamed to `path` only when everything was written.
///
/// Any number of threads, processes and containers may write one path: a reader finds the file of one of
/// them, whole. A symbolic link stays, and what it points to is written, as open() would do; another hard
/// link keeps the old content. An existing file's permissions stay, and its owner and group where the system
/// allows it; a new file has those of any other. A file that may not be written is not replaced. What a
/// killed program left of its temporaries (".kernelgrad-*.tmp") is removed by the next call for a file in
/// that folder.
///
/// Throws Error naming the path and the reason, with the temporary removed and an existing file untouched, if
/// anything fails; what `write` throws passes through likewise. Only when the folder cannot be flushed to
/// disk after the rename is the new file there all the same, and the message says so.
void write_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write);

/// A file in the safetensors format: named tensors, and free text under names of one's own.
struct Checkpoint {
  nn::StateDict tensors = {};
  std::map<std::string, std::string> metadata = {};
  /// Of a file that was loaded, the tensors that no DType can hold, and what they are: "F8_E4M3 [3, 4], ...".
  std::map<std::string, std::string> unreadable = {};
};

/// Writes a checkpoint with write_file(), readable by Python's `safetensors`. Equal checkpoints give equal
/// bytes; what is unreadable is left out. Throws Error on two tensors of one name, names that are no UTF-8,
/// more names than a reader takes, and where write_file() does.
void save_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

/// Reads a safetensors file into CPU tensors, in the order of their bytes. Types without a DType of their own
/// become the smallest that holds their every value: F16 and BF16 float32, BOOL uint8, I8, I16 and U16 int32,
/// U32 and U64 int64. Other types that the format names, and U64 beyond int64, are listed as unreadable: a
/// tensor that nobody asks for is no reason to refuse a file.
///
/// The file is not trusted. Time and memory are in proportion to its size, and whatever the format's
/// reference implementation refuses is refused, and names that are there twice: throws Error, naming the file
/// and the tensor, if the header is truncated, of more than 100 MB, no JSON or of the wrong form, if a
/// tensor's offsets do not match its shape, overlap, leave gaps or do not end with the file.
Checkpoint load_checkpoint(const std::filesystem::path& path);

}  // namespace kg
