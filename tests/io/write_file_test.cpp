#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <ostream>

#include "support.h"
#include "temporary_directory.h"

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

}  // namespace
}  // namespace kg
