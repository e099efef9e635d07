// SPDX-License-Identifier: MIT
#include "kernels/cudnn/library.h"

#include <mutex>

#include "kernelgrad/error.h"
#include "kernels/cudnn.h"
#include "kernels/cudnn/shared_library.h"

namespace kg::kernels::cudnn {

namespace {

#define KG_FIND(function) library.find(functions.function, #function);

CudnnFunctions load_cudnn() {
  const SharedLibrary library("libcudnn.so." + std::to_string(CUDNN_MAJOR));
  CudnnFunctions functions;
  KG_CUDNN_FUNCTIONS(KG_FIND)
  return functions;
}

CublasFunctions load_cublas() {
  const SharedLibrary library("libcublas.so." + std::to_string(CUBLAS_VER_MAJOR));
  CublasFunctions functions;
  KG_CUBLAS_FUNCTIONS(KG_FIND)
  return functions;
}

std::string three_numbers(std::size_t major, std::size_t minor, std::size_t patch) {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

std::string cublas_version() {
  const auto property = [](libraryPropertyType which) {
    int value = 0;
    cublas_library().cublasGetProperty(which, &value);
    return static_cast<std::size_t>(value);
  };
  return three_numbers(property(MAJOR_VERSION), property(MINOR_VERSION), property(PATCH_LEVEL));
}

std::string find_obstacle() try {
  cudnn_library();
  cublas_library();
  return "";
} catch (const Error& error) {
  return error.what();
}

std::mutex options_mutex;
CudnnOptions current_options;

}  // namespace

const CudnnFunctions& cudnn_library() {
  static const CudnnFunctions functions = load_cudnn();
  return functions;
}

const CublasFunctions& cublas_library() {
  static const CublasFunctions functions = load_cublas();
  return functions;
}

bool is_available() { return unavailable_reason().empty(); }

std::string unavailable_reason() {
  static const std::string obstacle = find_obstacle();
  return obstacle;
}

std::string version() {
  const std::size_t cudnn = cudnn_library().cudnnGetVersion();
  return "cuDNN " + three_numbers(cudnn / 10000, cudnn / 100 % 100, cudnn % 100) + ", cuBLAS " +
         cublas_version();
}

CudnnOptions options() {
  const std::lock_guard lock(options_mutex);
  return current_options;
}

void set_options(const CudnnOptions& options) {
  const std::lock_guard lock(options_mutex);
  current_options = options;
}

}  // namespace kg::kernels::cudnn
