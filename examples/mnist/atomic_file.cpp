#include "atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "kernelgrad/error.h"

namespace mnist {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& reason) {
  throw kg::Error(fmt::format("{}: cannot be written: {}", path.string(), reason));
}

std::string error_text(int error) { return std::generic_category().message(error); }

/// 0, or the errno of what failed.
int write_and_sync(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  // Without it a crash of the machine can leave the new name on an empty file: the rename may reach the disk
  // first.
  return ::fsync(file) == 0 ? 0 : errno;
}

}  // namespace

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  // The rename would replace a device such as /dev/full or /dev/stdout by a file.
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status)) {
    fail(path, "it exists and is not a regular file; give the name of a file");
  }

  auto temporary = path;
  temporary.replace_filename(fmt::format(".{}.{}.tmp", path.filename().string(), ::getpid()));
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) fail(path, error_text(errno));

  int error = write_and_sync(file, bytes);
  // A network file system may report a full disk only here.
  if (::close(file) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    fail(path, error_text(error));
  }
}

}  // namespace mnist
