#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "kernelgrad/io.h"

namespace kg {

namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(path.string() + ": cannot be written: " + what);
}

/// Removes the temporary unless it has been renamed to its final name.
class Temporary {
 public:
  explicit Temporary(const std::filesystem::path& target) : path_(target) {
    std::string name = ".";
    name.append(target.filename().string()).append(".").append(std::to_string(::getpid())).append(".tmp");
    path_.replace_filename(name);
  }
  ~Temporary() {
    std::error_code ignored;
    if (!kept_) std::filesystem::remove(path_, ignored);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void rename_to(const std::filesystem::path& target) {
    std::error_code error;
    std::filesystem::rename(path_, target, error);
    if (error) fail(target, error.message());
    kept_ = true;
  }

 private:
  std::filesystem::path path_;
  bool kept_ = false;
};

/// A rename can reach the disk before the data it names; after a power cut the file would be there and empty.
void flush_to_disk(const std::filesystem::path& written, const std::filesystem::path& target) {
  const int descriptor = ::open(written.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!flushed) fail(target, std::strerror(error));
}

}  // namespace

void write_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write) {
  if (!write) fail(path, "the function that is to write it is empty");
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  // The rename would replace a device such as /dev/full or a pipe by a file.
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    fail(path, "it exists and is not a regular file; give the name of a file");
  Temporary temporary(path);
  errno = 0;
  std::ofstream stream(temporary.path(), std::ios::binary | std::ios::trunc);
  if (!stream) fail(path, std::strerror(errno));
  errno = 0;
  write(stream);
  stream.close();
  if (!stream) fail(path, errno ? std::strerror(errno) : "the stream failed");
  flush_to_disk(temporary.path(), path);
  temporary.rename_to(path);
}

}  // namespace kg
