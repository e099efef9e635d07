// SPDX-License-Identifier: MIT
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <memory>
#include <optional>
#include <ostream>
#include <streambuf>

#include "io/descriptor.h"
#include "kernelgrad/io.h"

namespace kg {

namespace {

namespace fs = std::filesystem;

/// What all temporaries' names begin and end with; between them is a random number. Nothing of the target's
/// name, which may be as long as a name can be.
constexpr std::string_view temporary_begin = ".kernelgrad-", temporary_end = ".tmp";

[[noreturn]] void fail(const fs::path& path, const std::string& what) {
  throw Error(printable(path.native()) + ": cannot be written: " + what);
}

/// Where the symbolic links that a path ends in lead to, there or not: the file that open() would write.
fs::path without_links(const fs::path& path) {
  fs::path target = path;
  constexpr int most_links = 40;  // the system's own limit
  for (int links = 0; links <= most_links; ++links) {
    std::error_code no_link;
    const fs::path next = fs::read_symlink(target, no_link);
    if (no_link) return target;
    target = target.parent_path() / next;  // next alone if it is absolute
  }
  fail(path, reason(ELOOP));
}

/// A stream's buffer over an open file. Keeps the first error, which says more than a stream's failure.
class FileBuffer : public std::streambuf {
 public:
  explicit FileBuffer(int file) : file_(file) { setp(buffer_.data(), buffer_.data() + buffer_.size()); }
  int error() const { return error_; }

 protected:
  int_type overflow(int_type character) override {
    if (sync() != 0) return traits_type::eof();
    if (!traits_type::eq_int_type(character, traits_type::eof())) sputc(traits_type::to_char_type(character));
    return traits_type::not_eof(character);
  }
  std::streamsize xsputn(const char* text, std::streamsize size) override {
    if (size <= epptr() - pptr()) return std::streambuf::xsputn(text, size);
    return sync() == 0 && write_all(text, static_cast<std::size_t>(size)) ? size : 0;
  }
  int sync() override {
    const bool written = write_all(pbase(), static_cast<std::size_t>(pptr() - pbase()));
    setp(buffer_.data(), buffer_.data() + buffer_.size());
    return written ? 0 : -1;
  }

 private:
  bool write_all(const char* text, std::size_t size) {
    while (size > 0 && error_ == 0) {
      const ssize_t count = uninterrupted([&] { return ::write(file_, text, size); });
      if (count < 0) {
        error_ = errno;
      } else {
        text += count;
        size -= static_cast<std::size_t>(count);
      }
    }
    return error_ == 0;
  }

  int file_, error_ = 0;
  std::array<char, 1 << 16> buffer_;
};

/// A folder in which temporaries are made and renamed. Its names stay those of one folder, wherever it is
/// moved and whatever the current one becomes meanwhile.
class Folder {
 public:
  /// The folder that `target` is in. Throws Error naming `path` if there is none.
  Folder(const fs::path& target, const fs::path& path)
      : path_(target.parent_path().empty() ? "." : target.parent_path()), descriptor_(open(O_RDONLY)) {
    // One may write into a folder that one may not list.
    if (!descriptor_ && errno == EACCES) {
      listable_ = false;
      descriptor_ = open(O_PATH);
    }
    if (!descriptor_) fail(path, reason());
  }

  int number() const { return descriptor_.number(); }

  /// Removes what is left of temporaries whose programs were killed: nobody holds their locks any more.
  void remove_stale_temporaries() const {
    // Not fs::directory_iterator, which ends the program where memory is gone.
    const auto close = [](::DIR* folder) { ::closedir(folder); };
    const std::unique_ptr<::DIR, decltype(close)> names(::opendir(path_.c_str()), close);
    if (!names) return;  // this is a courtesy
    while (const ::dirent* const entry = ::readdir(names.get())) {
      const std::string_view name = entry->d_name;
      if (!name.starts_with(temporary_begin) || !name.ends_with(temporary_end)) continue;
      const Descriptor file(
          ::openat(number(), entry->d_name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
      if (file && ::flock(file.number(), LOCK_EX | LOCK_NB) == 0) ::unlinkat(number(), entry->d_name, 0);
    }
  }

  /// Makes a rename in this folder outlast a power cut. Returns false, with errno, if that is not possible.
  bool flush(int any_file_in_it) const {
    // Without permission to read a folder there is no flushing it alone.
    const auto flush_once = [&] { return listable_ ? ::fsync(number()) : ::syncfs(any_file_in_it); };
    // Some file systems keep no folders on a disk, and say so.
    return uninterrupted(flush_once) == 0 || errno == EINVAL || errno == ENOTSUP || errno == ENOSYS;
  }

 private:
  Descriptor open(int flags) const {
    return Descriptor(uninterrupted([&] { return ::open(path_.c_str(), flags | O_DIRECTORY | O_CLOEXEC); }));
  }

  fs::path path_;
  bool listable_ = true;
  Descriptor descriptor_;
};

/// A new file in a folder, under a name that nobody can guess, and locked for as long as it lives. Removed
/// unless it is renamed.
class Temporary {
 public:
  /// Throws Error naming `path`, for which it is meant.
  Temporary(const Folder& folder, mode_t mode, const fs::path& path) : folder_(folder) {
    // Until it was locked, another's call may have taken it for stale and removed it.
    do {
      name_ = random_name(path);
      file_ = Descriptor(uninterrupted([&] {
        return ::openat(folder.number(), name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                        mode);
      }));
      if (!file_) fail(path, reason());
      // Where a file system has no locks, nobody takes it for stale.
      uninterrupted([&] { return ::flock(file_.number(), LOCK_EX); });
    } while (::faccessat(folder.number(), name_.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT);
  }
  ~Temporary() {
    if (!name_.empty()) ::unlinkat(folder_.number(), name_.c_str(), 0);
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;

  int number() const { return file_.number(); }
  void rename_to(const std::string& name, const fs::path& path) {
    if (::renameat(folder_.number(), name_.c_str(), folder_.number(), name.c_str()) != 0)
      fail(path, reason());
    name_.clear();
  }

 private:
  static std::string random_name(const fs::path& path) {
    std::array<unsigned char, 16> bytes;
    if (::getentropy(bytes.data(), bytes.size()) != 0) fail(path, reason());
    std::string name(temporary_begin);
    for (const unsigned char byte : bytes) {
      name += "0123456789abcdef"[byte >> 4];
      name += "0123456789abcdef"[byte & 15];
    }
    return name.append(temporary_end);
  }

  const Folder& folder_;
  std::string name_;
  Descriptor file_;
};

/// A file that is there, and who may do what with it.
struct Existing {
  struct stat status;
  std::string access_list;  ///< What the mode does not say, as the system keeps it; mostly empty.
};

constexpr const char* access_list_attribute = "system.posix_acl_access";

/// What there is at the place that `path` leads to, if anything. Throws Error naming `path` if it may not be
/// written.
std::optional<Existing> existing_file(const fs::path& target, const fs::path& path) {
  Existing file{};
  if (::lstat(target.c_str(), &file.status) != 0) {
    if (errno != ENOENT) fail(path, reason());
    return {};
  }
  // A rename replaces a file that nobody may write as readily as any other.
  if (::faccessat(AT_FDCWD, target.c_str(), W_OK, AT_EACCESS) != 0) fail(path, reason());
  file.access_list.resize(1 << 16);  // the most that the system gives
  const ssize_t size =
      ::getxattr(target.c_str(), access_list_attribute, file.access_list.data(), file.access_list.size());
  file.access_list.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  return file;
}

/// Gives a new file the permissions of the one that it is to replace, and its owner as far as the system
/// allows that. Throws Error naming `path`.
void copy_permissions(const Existing& from, int to, const fs::path& path) {
  struct stat status {};
  if (::fstat(to, &status) != 0) fail(path, reason());
  mode_t mode = from.status.st_mode & 07777;
  std::string_view access_list = from.access_list;
  if (status.st_uid != from.status.st_uid && ::fchown(to, from.status.st_uid, static_cast<gid_t>(-1)) != 0)
    mode &= ~static_cast<mode_t>(S_ISUID);
  // What its group may do, another group may only if everybody may.
  if (status.st_gid != from.status.st_gid && ::fchown(to, static_cast<uid_t>(-1), from.status.st_gid) != 0) {
    mode = (mode & ~static_cast<mode_t>(S_ISGID | S_IRWXG)) | (mode & S_IRWXO) << 3;
    access_list = {};
  }
  // The folder may have given the new file a list of its own.
  if (access_list.empty()) ::fremovexattr(to, access_list_attribute);
  if (((status.st_mode & 07777) != mode && ::fchmod(to, mode) != 0) ||
      (!access_list.empty() &&
       ::fsetxattr(to, access_list_attribute, access_list.data(), access_list.size(), 0) != 0))
    fail(path, "its permissions cannot be kept: " + reason());
}

/// Hands a file to `write` as a stream. Throws Error naming `path`.
void fill(int file, const std::function<void(std::ostream&)>& write, const fs::path& path) {
  FileBuffer buffer(file);
  std::ostream stream(&buffer);
  write(stream);
  stream.flush();
  if (!stream) fail(path, buffer.error() ? reason(buffer.error()) : "the stream failed");
}

}  // namespace

void write_file(const fs::path& path, const std::function<void(std::ostream&)>& write) try {
  if (!write) fail(path, "the function that is to write it is empty");
  if (path.native().find('\0') != std::string::npos) fail(path, "a file's name has no zero byte");
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    // The rename would replace a device such as /dev/full or a pipe by a file.
    if (!S_ISREG(status.st_mode)) fail(path, "it exists and is not a regular file; give the name of a file");
  } else if (errno != ENOENT) {
    fail(path, reason());
  }
  const fs::path target = without_links(path);
  const std::string name = target.filename().native();
  if (name.empty()) fail(path, reason(path.empty() ? ENOENT : EISDIR));
  const Folder folder(target, path);
  folder.remove_stale_temporaries();
  const std::optional<Existing> existing = existing_file(target, path);
  // Nobody reads the new content before the permissions say who may.
  Temporary temporary(folder, existing ? 0600 : 0666, path);
  fill(temporary.number(), write, path);
  if (existing) copy_permissions(*existing, temporary.number(), path);
  // A rename can reach the disk before the data it names; after a power cut the file would be there and
  // empty.
  if (uninterrupted([&] { return ::fsync(temporary.number()); }) != 0) fail(path, reason());
  temporary.rename_to(name, path);
  if (!folder.flush(temporary.number()))
    fail(path, "the new file is there, but a power cut may undo it: " + reason());
} catch (const std::bad_alloc&) {
  no_memory("write_file");
}

}  // namespace kg
