// SPDX-License-Identifier: MIT
#include <cxxabi.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <set>
#include <span>
#include <string>

#include "error.h"

/// Names of kernels by their addresses, out of the symbol table of the running program: kernels have internal
/// linkage, which the dynamic linker's functions know nothing of.
namespace emulator {

namespace {

std::uintptr_t load_address() {
  std::uintptr_t address = 0;
  // The first object is the program itself.
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        *static_cast<std::uintptr_t*>(result) = info->dlpi_addr;
        return 1;
      },
      &address);
  return address;
}

/// The program's own file, in memory as far as it is read: most of it is debugging information. Empty if it
/// cannot be had.
std::span<const char> program_image() {
  const int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (file < 0) return {};
  struct stat status;
  void* memory = MAP_FAILED;
  if (fstat(file, &status) == 0)
    memory = mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (memory == MAP_FAILED) return {};
  return {static_cast<const char*>(memory), static_cast<std::size_t>(status.st_size)};
}

/// The mangled name of the program's function at the address, or null.
const char* mangled_name(std::uintptr_t address) {
  static const std::span<const char> image = program_image();
  static const std::uintptr_t base = load_address();
  if (image.size() < sizeof(Elf64_Ehdr)) return nullptr;
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(image.data());
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(image.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const char* const names = image.data() + sections[sections[i].sh_link].sh_offset;
    const auto* const begin = reinterpret_cast<const Elf64_Sym*>(image.data() + sections[i].sh_offset);
    for (const auto* symbol = begin; symbol != begin + sections[i].sh_size / sizeof(Elf64_Sym); ++symbol)
      if (symbol->st_value == address - base && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC)
        return names + symbol->st_name;
  }
  return nullptr;
}

/// "relu_kernel<float>" out of "void kg::(anonymous namespace)::relu_kernel<float>(long, float const*)".
std::string short_name(const char* mangled) {
  int status = 0;
  char* const demangled = abi::__cxa_demangle(mangled, nullptr, nullptr, &status);
  if (!demangled) return mangled;
  std::string name = demangled;
  std::free(demangled);
  // The part outside all brackets that ends at the parameters: the anonymous namespace has brackets of its
  // own.
  for (std::size_t at; (at = name.find("(anonymous namespace)::")) != std::string::npos;) name.erase(at, 23);
  std::size_t begin = 0, end = name.size();
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (depth == 0 && (name[i] == ' ' || name[i] == ':')) begin = i + 1;
    if (depth == 0 && name[i] == '(') {
      end = i;
      break;
    }
  }
  return name.substr(begin, end - begin);
}

struct Kernels {
  std::set<const void*> run;
  const char* const path = std::getenv("KG_EMULATOR_KERNELS");

  void write() const {
    std::ofstream file(path, std::ios::app);
    for (const void* kernel : run) file << kernel_name(kernel) << '\n';
  }
};

Kernels& kernels() {
  static Kernels& kernels = *[] {
    if (std::getenv("KG_EMULATOR_KERNELS")) std::atexit([] { emulator::kernels().write(); });
    return new Kernels;
  }();
  return kernels;
}

}  // namespace

std::string kernel_name(const void* kernel) {
  const char* const mangled = mangled_name(reinterpret_cast<std::uintptr_t>(kernel));
  return mangled ? short_name(mangled) : "a kernel without a name";
}

void note_kernel_run(const void* kernel) {
  if (kernels().path) kernels().run.insert(kernel);
}

}  // namespace emulator
