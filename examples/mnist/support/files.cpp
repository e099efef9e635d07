// SPDX-License-Identifier: MIT
#include "support/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <ostream>
#include <system_error>

#include "kernelgrad/error.h"
#include "kernelgrad/io.h"

namespace mnist {

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw kg::Error(folder.string() + ": cannot make the folder: " + error.message());
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0)
    throw kg::Error(folder.string() +
                    ": cannot write into the folder: " + std::generic_category().message(errno));
}

void remove_file(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_regular_file(path)) std::filesystem::remove(path, error);
  if (error) throw kg::Error(path.string() + ": cannot be removed: " + error.message());
}

void flush_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool flushed = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!flushed)
    throw kg::Error(folder.string() +
                    ": cannot be flushed to the disk: " + std::generic_category().message(error));
}

FolderLock::FolderLock(const std::filesystem::path& folder, bool inherited) {
  make_folder(folder);
  descriptor_ = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | (inherited ? 0 : O_CLOEXEC));
  if (descriptor_ >= 0 && ::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
  const int error = errno;
  if (descriptor_ >= 0) ::close(descriptor_);
  if (error == EWOULDBLOCK)
    throw kg::Error(folder.string() +
                    ": another process is at work in this folder; wait for it or give another with --out");
  throw kg::Error(folder.string() + ": cannot be locked: " + std::generic_category().message(error));
}

FolderLock::~FolderLock() { ::close(descriptor_); }

void write_text(const std::filesystem::path& path, const std::string& text) {
  kg::write_file(path, [&](std::ostream& stream) { stream << text; });
}

}  // namespace mnist
