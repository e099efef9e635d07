// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>

namespace mnist {

/// Makes a folder, and those that it is to be in, unless it is there. Throws kg::Error, naming it, if that is
/// not possible, or if no files can be made in it.
void make_folder(const std::filesystem::path& folder);

/// Removes a regular file, if there is one by that name. Throws kg::Error, naming it, if that is not
/// possible.
void remove_file(const std::filesystem::path& path);

/// Waits until what was made, renamed and removed in a folder is on the disk. Throws kg::Error, naming it, if
/// that is not possible.
void flush_folder(const std::filesystem::path& folder);

/// Makes a folder, if need be, and keeps other processes out of it as long as this one lives: one that dies
/// lets go of it.
class FolderLock {
 public:
  /// `inherited`: as long as a child process of this one lives, too. Throws kg::Error, naming the folder, if
  /// another process has it, and as make_folder() does.
  explicit FolderLock(const std::filesystem::path& folder, bool inherited = false);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_;
};

/// Writes a file as kg::write_file() does: as a whole or not at all.
void write_text(const std::filesystem::path& path, const std::string& text);

}  // namespace mnist
