// SPDX-License-Identifier: MIT
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

/// What the programs of this folder share. Each defines LLVMFuzzerTestOneInput(), as libFuzzer wants it.

/// Called with every input. A fault is any signal, sanitizer's report, exception that leaves it, or failed
/// require(). Returns 0.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace kg::fuzz {

/// Ends the program with `message`, as a fault, unless `holds`.
inline void require(bool holds, std::string_view message) {
  if (holds) return;
  std::fprintf(stderr, "fuzz: %.*s\n", static_cast<int>(message.size()), message.data());
  std::abort();
}

/// A file that is in memory alone, for functions that take a path.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    require(descriptor_ >= 0, "memfd_create() failed");
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(descriptor_); }

  /// Replaces the file's content.
  void write(std::span<const std::uint8_t> bytes) {
    require(::ftruncate(descriptor_, 0) == 0, "ftruncate() failed");
    for (std::size_t done = 0; done < bytes.size();) {
      const ::ssize_t count =
          ::pwrite(descriptor_, bytes.data() + done, bytes.size() - done, static_cast<::off_t>(done));
      require(count > 0, "pwrite() failed");
      done += static_cast<std::size_t>(count);
    }
  }
  void write(std::string_view text) {
    write(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  }

  /// Opens as the file, of this process alone.
  std::filesystem::path path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace kg::fuzz
