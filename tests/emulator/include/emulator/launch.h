// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "emulator/runtime_api.h"

/// cudaLaunchKernelEx: a kernel and its arguments become an object that can be run later, once for every
/// thread.

namespace emulator {

/// A launch's arguments, and how to call its kernel with them.
struct KernelCall {
  explicit KernelCall(const void* kernel) : kernel(kernel) {}
  virtual ~KernelCall() = default;
  virtual void run() const = 0;

  const void* const kernel;
  std::vector<const void*> pointers;  ///< those among the arguments, for the check of where they point
};

cudaError_t launch(const cudaLaunchConfig_t&, std::shared_ptr<const KernelCall>);

template <class... Parameters>
class TypedKernelCall final : public KernelCall {
 public:
  TypedKernelCall(void (*kernel)(Parameters...), const Parameters&... arguments)
      : KernelCall(reinterpret_cast<const void*>(kernel)), kernel_(kernel), arguments_(arguments...) {
    (note_pointer(arguments), ...);
  }
  void run() const override { std::apply(kernel_, arguments_); }

 private:
  template <class T>
  void note_pointer(const T& argument) {
    if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>)
      pointers.push_back(argument);
  }

  void (*kernel_)(Parameters...);
  std::tuple<Parameters...> arguments_;
};

}  // namespace emulator

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  static_assert((std::is_trivially_copyable_v<Parameters> && ...),
                "a kernel's parameters are copied as bytes");
  static_assert((sizeof(Parameters) + ... + 0) <= 4096, "a kernel's parameters take at most 4 KB");
  return emulator::launch(*config,
                          std::make_shared<emulator::TypedKernelCall<Parameters...>>(
                              kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...));
}
