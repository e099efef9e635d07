// SPDX-License-Identifier: MIT
#pragma once

#include <dlfcn.h>

#include <string>

#include "kernelgrad/error.h"

namespace kg::kernels::cudnn {

/// A shared library, loaded from where the dynamic linker finds it, for as long as the program runs: cuDNN
/// and cuBLAS keep threads and state of their own that outlive any good moment to unload them.
class SharedLibrary {
 public:
  /// Throws Error naming what was not found.
  explicit SharedLibrary(const std::string& file)
      : file_(file), handle_(dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    // The loader's message names the file, and for a file that is there what else is missing.
    if (!handle_)
      throw Error(std::string("cudnn: ") + dlerror() + "; install it, or name its folder in LD_LIBRARY_PATH");
  }

  /// Throws Error naming the function if there is none of that name.
  template <class Function>
  void find(Function& function, const char* name) const {
    function = reinterpret_cast<Function>(dlsym(handle_, name));
    if (!function)
      throw Error("cudnn: " + file_ + " has no function " + name + ", another version is needed");
  }

 private:
  std::string file_;
  void* handle_;
};

}  // namespace kg::kernels::cudnn
