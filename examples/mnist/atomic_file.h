#pragma once

#include <filesystem>
#include <string_view>

namespace mnist {

/// Writes `bytes` to a temporary name in the folder of `path` and renames it to `path`: whoever opens `path`,
/// at any moment and after any crash, finds either the file that was there before or the whole new one.
/// Throws kg::Error naming `path` and the reason (no such folder, no permission, disk full, `path` is no
/// regular file); what was at `path` is then untouched and no temporary file remains.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace mnist
