#pragma once

#include <filesystem>
#include <string>

namespace mnist {

/// Makes a folder, and those that it is to be in, unless it is there. Throws kg::Error, naming it, if that is
/// not possible.
void make_folder(const std::filesystem::path& folder);

/// Writes a file as kg::write_file() does: as a whole or not at all.
void write_text(const std::filesystem::path& path, const std::string& text);

}  // namespace mnist
