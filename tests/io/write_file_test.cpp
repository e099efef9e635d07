// SPDX-License-Identifier: MIT
#include <grp.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <ostream>
#include <thread>

#include "support.h"
#include "temporary_directory.h"

namespace {

/// What fsync() is called for, and whether it works: the library's calls end here instead of in libc.
struct {
  std::atomic<int> of_files = 0, of_folders = 0, fail_files = 0, fail_folders = 0, interruptions = 0;
} flushes;

/// How many of the files that are going to be locked somebody removes before.
std::atomic<int> to_vanish = 0;

}  // namespace

extern "C" int flock(int file, int operation) {
  if (operation == LOCK_EX && to_vanish > 0) {
    --to_vanish;
    std::filesystem::remove(std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(file)));
  }
  return static_cast<int>(syscall(SYS_flock, file, operation));
}

extern "C" int fsync(int file) {
  struct stat status {};
  fstat(file, &status);
  const bool is_folder = S_ISDIR(status.st_mode);
  if (flushes.interruptions > 0) {
    --flushes.interruptions;
    errno = EINTR;
    return -1;
  }
  ++(is_folder ? flushes.of_folders : flushes.of_files);
  if (const int error = is_folder ? flushes.fail_folders : flushes.fail_files) {
    errno = error;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fsync, file));
}

namespace kg {
namespace {

using namespace testing;
using namespace std::string_literals;

using Names = std::vector<std::string>;

/// Lets no file grow beyond `bytes`, as a full disk would.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST_CASE("write_file writes a file or replaces one, and leaves no other", "[io]") {
  const TemporaryDirectory directory;
  const auto path = directory / "file with spaces";
  for (const std::string& content : {"first"s, ""s, "a longer one\0with a zero"s}) {
    write_file(path, [&](std::ostream& stream) { stream << content; });
    CHECK(content_of(path) == content);
    CHECK(directory.entries() == Names{"file with spaces"});
  }
}

TEST_CASE("write_file's file has the permissions of any other, and may be in the current folder", "[io]") {
  const TemporaryDirectory directory;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  write_file("written", [](std::ostream& stream) { stream << "x"; });
  std::filesystem::current_path(before);
  set_content(directory / "plain", "x");
  CHECK(content_of(directory / "written") == "x");
  CHECK(std::filesystem::status(directory / "written").permissions() ==
        std::filesystem::status(directory / "plain").permissions());
}

TEST_CASE("While write_file writes, the old file stays", "[io]") {
  const TemporaryDirectory directory;
  set_content(directory / "file", "old");
  write_file(directory / "file", [&](std::ostream& stream) {
    stream << "new" << std::flush;
    CHECK(content_of(directory / "file") == "old");
  });
  CHECK(content_of(directory / "file") == "new");
}

TEST_CASE("write_file that fails leaves the old file and nothing else", "[io][errors]") {
  const TemporaryDirectory directory;
  const bool existing = GENERATE(false, true);
  const auto path = directory / "file";
  if (existing) set_content(path, "old");
  const std::string name = path.string();
  SECTION("the writer throws") {
    check_error(
        [&] {
          write_file(path, [](std::ostream& stream) {
            stream << "half";
            throw Error("no more");
          });
        },
        {"no more"});
  }
  SECTION("the writer's stream fails") {
    check_error([&] { write_file(path, [](std::ostream& stream) { stream.setstate(std::ios::failbit); }); },
                {name.c_str(), "cannot be written"});
  }
  SECTION("the disk is full") {
    const FileSizeLimit limit(1 << 16);
    check_error([&] { write_file(path, [](std::ostream& s) { s << std::string(1 << 20, 'x'); }); },
                {name.c_str(), "cannot be written"});
  }
  SECTION("the disk is full at the last flush") {
    const FileSizeLimit limit(10);
    check_error([&] { write_file(path, [](std::ostream& s) { s << std::string(11, 'x'); }); },
                {name.c_str(), "cannot be written", "File too large"});
  }
  CHECK(directory.entries() == (existing ? Names{"file"} : Names{}));
  if (existing) CHECK(content_of(path) == "old");
}

TEST_CASE("write_file names a path that cannot be written", "[io][errors]") {
  const TemporaryDirectory directory;
  const auto write = [](const std::filesystem::path& path) {
    write_file(path, [](std::ostream& s) { s << "x"; });
  };
  const auto missing = directory / "missing" / "file";
  check_error([&] { write(missing); }, {missing.c_str(), "No such file or directory"});
  set_content(directory / "plain", "");
  const auto below_file = directory / "plain" / "file";
  check_error([&] { write(below_file); }, {below_file.c_str(), "Not a directory"});
  std::filesystem::create_directory(directory / "folder");
  check_error([&] { write(directory / "folder"); }, {(directory / "folder").c_str(), "cannot be written"});
  // A device such as /dev/stdout must not be replaced by a file; a pipe stands for it here.
  const auto pipe = directory / "pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  check_error([&] { write(pipe); }, {pipe.c_str(), "cannot be written: it exists and is not"});
  CHECK(std::filesystem::is_fifo(pipe));
  CHECK(directory.entries().size() == 3);
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  write_file(path, [&](std::ostream& stream) { stream << text; });
}

mode_t mode_of(const std::filesystem::path& path) {
  struct stat status {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777;
}

/// Runs the action in a process of its own and returns how that ended: 0 for well.
template <class Action>
int in_child(const Action& action) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      action();
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

/// As in_child(), as somebody whom permissions bind: whoever runs the tests, if that is not root.
template <class Action>
int as_nobody(const Action& action) {
  constexpr uid_t nobody = 65534;
  return in_child([&] {
    if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setgid(nobody) != 0 || setuid(nobody) != 0))
      _exit(2);
    action();
  });
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST_CASE("Many threads and processes write one path, and a reader sees one of them, whole", "[io]") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  const std::string a(100'000, 'a'), b(50'000, 'b');
  write_text(path, a);
  const auto write_often = [&](const std::string& text) {
    for (int i = 0; i < 50; ++i) write_text(path, text);
  };
  const pid_t child = fork();
  if (child == 0) {
    try {
      write_often(b);
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  std::atomic<int> running = 2, failed = 0, broken = 0;
  const auto writer = [&](const std::string& text) {
    try {
      write_often(text);
    } catch (const Error&) {
      ++failed;
    }
    --running;
  };
  std::thread first([&] { writer(a); }), second([&] { writer(b); });
  while (running > 0) {
    const std::string content = content_of(path);
    broken += content != a && content != b;
  }
  first.join();
  second.join();
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(failed == 0);
  CHECK(broken == 0);
  CHECK(directory.entries() == Names{"file"});
}

TEST_CASE("What a killed program left is removed by the next, what a living one writes is not", "[io]") {
  const TemporaryDirectory directory;
  const int status = in_child([&] {
    write_file(directory / "killed", [](std::ostream& stream) {
      stream << "half" << std::flush;
      std::raise(SIGKILL);
    });
  });
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(directory.entries().size() == 1);
  write_text(directory / "other", "x");
  CHECK(directory.entries() == Names{"other"});

  write_file(directory / "living", [&](std::ostream& stream) {
    stream << "first half" << std::flush;
    CHECK(in_child([&] { write_text(directory / "other", "y"); }) == 0);
    write_text(directory / "other", "z");
    stream << ", second half";
  });
  CHECK(content_of(directory / "living") == "first half, second half");
  CHECK(content_of(directory / "other") == "z");
  CHECK(directory.entries().size() == 2);
}

TEST_CASE("A temporary that another call takes for stale before it is locked is made anew", "[io]") {
  const TemporaryDirectory directory;
  to_vanish = 3;
  write_text(directory / "file", "x");
  CHECK(to_vanish == 0);
  CHECK(content_of(directory / "file") == "x");
  CHECK(directory.entries() == Names{"file"});
}

TEST_CASE("What lies where temporaries lie is not followed, waited for or written", "[io]") {
  const TemporaryDirectory directory;
  set_content(directory / "victim", "untouched");
  std::filesystem::create_symlink("victim", directory / ".kernelgrad-link.tmp");
  // The name of one that an earlier version would have taken.
  std::filesystem::create_symlink("victim", directory / (".file." + std::to_string(getpid()) + ".tmp"));
  std::filesystem::create_directory(directory / ".kernelgrad-folder.tmp");
  REQUIRE(mkfifo((directory / ".kernelgrad-pipe.tmp").c_str(), 0600) == 0);
  set_content(directory / ".kernelgrad-other", "not one of ours");
  write_text(directory / "file", "x");
  CHECK(content_of(directory / "file") == "x");
  CHECK(content_of(directory / "victim") == "untouched");
  CHECK(std::filesystem::is_symlink(directory / ".kernelgrad-link.tmp"));
  CHECK(std::filesystem::is_directory(directory / ".kernelgrad-folder.tmp"));
  CHECK(content_of(directory / ".kernelgrad-other") == "not one of ours");
}

TEST_CASE("A symbolic link stays, and what it points to is written", "[io]") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "folder");
  const auto target = directory / "folder" / "target";
  const bool existing = GENERATE(false, true);  // otherwise the link dangles, and open() would make the file
  if (existing) set_content(target, "old");
  const auto check_written = [&](const std::filesystem::path& link) {
    CHECK(std::filesystem::is_symlink(link));
    CHECK(std::filesystem::is_regular_file(std::filesystem::symlink_status(target)));
    CHECK(content_of(target) == "new");
    CHECK(content_of(link) == "new");
  };
  SECTION("absolute") {
    std::filesystem::create_symlink(target, directory / "link");
    write_text(directory / "link", "new");
    check_written(directory / "link");
  }
  SECTION("relative, from another folder") {
    std::filesystem::create_symlink("folder/target", directory / "link");
    write_text(directory / "link", "new");
    check_written(directory / "link");
  }
  SECTION("a chain, upwards and through a folder that is a link") {
    std::filesystem::create_directory_symlink("folder", directory / "alias");
    std::filesystem::create_symlink("../alias/target", directory / "folder" / "second");
    std::filesystem::create_symlink("alias/second", directory / "first");
    write_text(directory / "first", "new");
    check_written(directory / "first");
    check_written(directory / "folder" / "second");
  }
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path()))
    CHECK(entry.path().extension() != ".tmp");
}

TEST_CASE("A symbolic link that leads nowhere or in a circle is an error", "[io][errors]") {
  const TemporaryDirectory directory;
  std::filesystem::create_symlink("b", directory / "a");
  std::filesystem::create_symlink("a", directory / "b");
  check_error([&] { write_text(directory / "a", "x"); },
              {(directory / "a").c_str(), "Too many levels of symbolic links"});
  std::filesystem::create_symlink("missing/file", directory / "c");
  check_error([&] { write_text(directory / "c", "x"); }, {(directory / "c").c_str(), "No such file"});
  std::filesystem::create_symlink("/dev/null", directory / "d");
  check_error([&] { write_text(directory / "d", "x"); }, {(directory / "d").c_str(), "not a regular file"});
  CHECK(directory.entries().size() == 4);
}

TEST_CASE("As many symbolic links lead to a file as the system follows", "[io]") {
  const TemporaryDirectory directory;
  set_content(directory / "0", "old");
  for (int i = 1; i <= 41; ++i)
    std::filesystem::create_symlink(std::to_string(i - 1), directory / std::to_string(i));
  write_text(directory / "40", "new");
  CHECK(content_of(directory / "0") == "new");
  check_error([&] { write_text(directory / "41", "x"); }, {"Too many levels of symbolic links"});
}

TEST_CASE("An existing file's permissions stay, a new file's are those of any other", "[io]") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  for (const mode_t mode : {0600, 0644, 0640, 0666, 0777, 0604, 0200, 02755, 04711}) {
    INFO(std::oct << mode);
    set_content(path, "old");
    REQUIRE(chmod(path.c_str(), mode) == 0);
    write_text(path, "new");
    CHECK(mode_of(path) == mode);
    CHECK(content_of(path) == "new");
  }
  for (const mode_t mask : {0u, 022u, 027u, 077u}) {
    const mode_t before = umask(mask);
    write_text(directory / "new", "x");
    umask(before);
    CHECK(mode_of(directory / "new") == (0666 & ~mask));
    std::filesystem::remove(directory / "new");
  }
}

TEST_CASE("While a private file is written anew, nobody else reads the new one", "[io]") {
  const TemporaryDirectory directory;
  set_content(directory / "file", "old");
  chmod((directory / "file").c_str(), 0600);
  write_file(directory / "file", [&](std::ostream& stream) {
    stream << "secret" << std::flush;
    for (const std::string& name : directory.entries()) CHECK((mode_of(directory / name) & 077) == 0);
  });
}

TEST_CASE("A file's owner stays where the system allows it, and no other group reads it", "[io]") {
  if (geteuid() != 0) {
    WARN("not run: only root can give files away");
    return;
  }
  const TemporaryDirectory directory;
  chmod(directory.path().c_str(), 0777);
  const auto path = directory / "file";
  const auto make_file = [&](uid_t user, gid_t group, mode_t mode) {
    set_content(path, "old");
    REQUIRE(chown(path.c_str(), user, group) == 0);
    REQUIRE(chmod(path.c_str(), mode) == 0);
  };
  const auto status = [&] {
    struct stat found {};
    stat(path.c_str(), &found);
    return std::tuple(found.st_uid, found.st_gid, found.st_mode & 07777);
  };
  make_file(1234, 4321, 0640);
  write_text(path, "new");
  CHECK(status() == std::tuple(1234u, 4321u, 0640u));
  make_file(65534, 4321, 0664);
  CHECK(as_nobody([&] { write_text(path, "new"); }) == 0);
  CHECK(status() == std::tuple(65534u, 65534u, 0644u));
  // Who writes it anew becomes its owner, as whom nobody else is to run it.
  make_file(1234, 65534, 04777);
  CHECK(as_nobody([&] { write_text(path, "new"); }) == 0);
  CHECK(status() == std::tuple(65534u, 65534u, 0777u));
}

TEST_CASE("An access control list stays with its file", "[io]") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  const char* const attribute = "system.posix_acl_access";
  // Version 2; then tag, permissions and number of each entry: the owner rw, user 1234 r, the group nothing,
  // the most that is given to others than the owner r, everybody nothing.
  const std::string list(
      "\2\0\0\0"
      "\1\0\6\0\xFF\xFF\xFF\xFF"
      "\2\0\4\0\xD2\4\0\0"
      "\4\0\0\0\xFF\xFF\xFF\xFF"
      "\x10\0\4\0\xFF\xFF\xFF\xFF"
      "\x20\0\0\0\xFF\xFF\xFF\xFF",
      44);
  set_content(path, "old");
  if (setxattr(path.c_str(), attribute, list.data(), list.size(), 0) != 0) {
    WARN("not run: a file system without access control lists");
    return;
  }
  const auto list_of = [&] {
    std::string found(1000, '\0');
    const ssize_t size = getxattr(path.c_str(), attribute, found.data(), found.size());
    found.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return found;
  };
  write_text(path, "new");
  CHECK(content_of(path) == "new");
  CHECK(list_of() == list);
  CHECK(mode_of(path) == 0640);

  // A file without one gets none from its folder, whose new files have one.
  std::filesystem::remove(path);
  set_content(path, "old");
  chmod(path.c_str(), 0640);
  REQUIRE(setxattr(directory.path().c_str(), "system.posix_acl_default", list.data(), list.size(), 0) == 0);
  write_text(path, "new");
  CHECK(list_of().empty());
  CHECK(mode_of(path) == 0640);
}

TEST_CASE("A file that may not be written is not replaced, nor written where no file may be made",
          "[io][errors]") {
  const TemporaryDirectory directory;
  chmod(directory.path().c_str(), 0777);
  const auto path = directory / "file";
  set_content(path, "old");
  chmod(path.c_str(), 0444);
  CHECK(as_nobody([&] {
          if (error_of([&] { write_text(path, "new"); }).find("Permission denied") == std::string::npos)
            _exit(3);
        }) == 0);
  CHECK(content_of(path) == "old");
  chmod(path.c_str(), 0666);
  chmod(directory.path().c_str(), 0555);
  CHECK(as_nobody([&] {
          if (error_of([&] { write_text(path, "new"); }).find("Permission denied") == std::string::npos)
            _exit(3);
        }) == 0);
  CHECK(content_of(path) == "old");
  // One may write into a folder that one may not list.
  chmod(directory.path().c_str(), 0333);
  CHECK(as_nobody([&] { write_text(path, "new"); }) == 0);
  chmod(directory.path().c_str(), 0777);
  CHECK(content_of(path) == "new");
  CHECK(directory.entries() == Names{"file"});
}

TEST_CASE("Every name that a file can have works, and no other", "[io]") {
  const TemporaryDirectory directory;
  for (const std::string& name :
       {std::string(255, 'x'), "-rf"s, ".hidden"s, "..."s, " "s, "new\nline"s, "\xFF\xFE"s, "\x1b[31m"s,
        "a\\b"s, ".kernelgrad-mine"s, std::string(126, '\xC3') + "x"}) {
    INFO(name);
    for (const std::string& text : {"first"s, "second"s}) {
      write_text(directory / name, text);
      CHECK(content_of(directory / name) == text);
    }
    CHECK(directory.entries() == Names{name});
    std::filesystem::remove(directory / name);
  }
  check_error([&] { write_text(directory / std::string(256, 'x'), ""); }, {"xxx", "File name too long"});
  check_error([&] { write_text("", ""); }, {"cannot be written: No such file or directory"});
  for (const char* name : {".", "..", "/", "folder/"})
    check_error([&] { write_text(directory / name, ""); }, {"cannot be written"});
  check_error([&] { write_text(directory / std::string("a\0b", 3), ""); }, {"a\\x00b", "zero byte"});
  CHECK(directory.entries().empty());
  check_error([&] { write_text(directory / "no\x1b[31m\n" / "file", ""); }, {"/no\\x1b[31m\\n/file: cannot"});
}

TEST_CASE("A relative path means what it meant when it was given", "[io]") {
  const TemporaryDirectory directory;
  std::filesystem::create_directory(directory / "elsewhere");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(directory.path());
  write_file("file", [&](std::ostream& stream) {
    stream << "x";
    std::filesystem::current_path(directory / "elsewhere");
  });
  std::filesystem::current_path(before);
  CHECK(content_of(directory / "file") == "x");
  CHECK(std::filesystem::is_empty(directory / "elsewhere"));
}

TEST_CASE("A file and its folder are flushed to disk, and where that fails it is said", "[io][errors]") {
  const TemporaryDirectory directory;
  const auto path = directory / "file";
  flushes.of_files = flushes.of_folders = 0;
  write_text(path, "old");
  CHECK(flushes.of_files == 1);
  CHECK(flushes.of_folders == 1);
  flushes.fail_files = EIO;
  check_error([&] { write_text(path, "new"); }, {path.c_str(), "cannot be written: Input/output error"});
  flushes.fail_files = 0;
  CHECK(content_of(path) == "old");
  CHECK(directory.entries() == Names{"file"});

  flushes.fail_folders = EIO;
  check_error([&] { write_text(path, "new"); },
              {path.c_str(), "the new file is there", "Input/output error"});
  CHECK(content_of(path) == "new");
  flushes.fail_folders = EINVAL;  // a file system whose folders are on no disk
  write_text(path, "newer");
  flushes.fail_folders = 0;
  CHECK(content_of(path) == "newer");
}

TEST_CASE("A call that a signal interrupts is made again", "[io]") {
  const TemporaryDirectory directory;
  flushes.interruptions = 3;
  write_text(directory / "file", "x");
  CHECK(flushes.interruptions == 0);
  CHECK(content_of(directory / "file") == "x");
}

TEST_CASE("What is written in pieces of any size comes out as it went in", "[io]") {
  const TemporaryDirectory directory;
  std::string expected;
  write_file(directory / "file", [&](std::ostream& stream) {
    for (std::size_t i = 0; i < 400; ++i) {
      const std::string piece(i % 7 == 0 ? i * 1000 : i, static_cast<char>('a' + i % 26));
      stream << piece << static_cast<char>(i);
      if (i % 50 == 0) stream << std::flush;
      expected += piece + static_cast<char>(i);
    }
  });
  CHECK(content_of(directory / "file") == expected);
}

TEST_CASE("Checkpoints that several threads save to one path are read whole", "[io]") {
  const TemporaryDirectory directory;
  const auto path = directory / "model.safetensors";
  const nn::Linear a(100, 100), b(100, 100);
  save_checkpoint(path, {a.state_dict()});
  std::atomic<int> running = 2, failed = 0, unreadable = 0;
  const auto save = [&](const nn::Linear& layer) {
    for (int i = 0; i < 50; ++i)
      failed += !error_of([&] { save_checkpoint(path, {layer.state_dict()}); }).starts_with("nothing");
    --running;
  };
  std::thread first([&] { save(a); }), second([&] { save(b); });
  while (running > 0) unreadable += !error_of([&] { load_checkpoint(path); }).starts_with("nothing");
  first.join();
  second.join();
  CHECK(failed == 0);
  CHECK(unreadable == 0);
  CHECK(directory.entries() == Names{"model.safetensors"});
}

}  // namespace
}  // namespace kg
