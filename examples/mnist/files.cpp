#include "files.h"

#include <fcntl.h>
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

void write_text(const std::filesystem::path& path, const std::string& text) {
  kg::write_file(path, [&](std::ostream& stream) { stream << text; });
}

}  // namespace mnist
