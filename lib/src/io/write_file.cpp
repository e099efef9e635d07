#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "kernelgrad/io.h"

namespace kg {

namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(path.string() + ": cannot write: " + what);
}

/// Removes the temporary unless it has been renamed to its final name.
class Temporary {
 public:
  explicit Temporary(const std::filesystem::path& target)
      : path_(target.string() + ".part-" + std::to_string(::getpid())) {}
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
  Temporary temporary(path);
  std::ofstream stream(temporary.path(), std::ios::binary | std::ios::trunc);
  if (!stream) fail(path, std::strerror(errno));
  write(stream);
  errno = 0;
  stream.close();
  if (!stream) fail(path, errno ? std::strerror(errno) : "the stream failed");
  flush_to_disk(temporary.path(), path);
  temporary.rename_to(path);
}

}  // namespace kg
