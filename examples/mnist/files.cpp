#include "files.h"

#include <ostream>
#include <system_error>

#include "kernelgrad/error.h"
#include "kernelgrad/io.h"

namespace mnist {

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw kg::Error(folder.string() + ": cannot make the folder: " + error.message());
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  kg::write_file(path, [&](std::ostream& stream) { stream << text; });
}

}  // namespace mnist
