// SPDX-License-Identifier: MIT
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "cases/conv2d.h"
#include "cases/pool2d.h"
#include "kernels/cudnn/descriptors.h"
#include "kernels/cudnn/shared_library.h"
#include "support.h"

/// The installed cuDNN and cuBLAS, as far as they go without a GPU: that they load, what they call things,
/// and that they understand our descriptions as we mean them.
namespace kg::kernels::cudnn {
namespace {

using kg::testing::check_error;

constexpr std::int64_t too_large = std::int64_t{1} << 31;

template <class Action>
bool throws_unsupported(Action action) {
  try {
    action();
  } catch (const Unsupported&) {
    return true;
  } catch (const Error&) {
  }
  return false;
}

/// Checks that `action` throws Unsupported with a message that has every one of the parts.
template <class Action>
void check_unsupported(Action action, std::initializer_list<const char*> parts, int line = __builtin_LINE()) {
  INFO("line " << line);
  CHECK(throws_unsupported(action));
  check_error(action, parts, line);
}

TEST_CASE("The installed libraries say which version they are", "[cudnn]") {
  CHECK(is_available());
  CHECK(unavailable_reason() == "");
  const std::string expected = "cuDNN " + std::to_string(CUDNN_MAJOR) + ".";
  CHECK(version().substr(0, expected.size()) == expected);
  CHECK(version().find(", cuBLAS " + std::to_string(CUBLAS_VER_MAJOR) + ".") != std::string::npos);
}

TEST_CASE("A library that is not there is named", "[cudnn][errors]") {
  check_error([] { SharedLibrary("libkernelgrad-nowhere.so.9"); },
              {"cudnn: ", "libkernelgrad-nowhere.so.9", "No such file", "LD_LIBRARY_PATH"});
  // Any library that has other functions.
  const SharedLibrary library("libc.so.6");
  decltype(&::cudnnCreate) function = nullptr;
  check_error([&] { library.find(function, "cudnnCreate"); }, {"cudnn: ", "libc.so.6", "cudnnCreate"});
}

/// Run by itself, with a folder first on LD_LIBRARY_PATH in which libcudnn is an empty file.
TEST_CASE("A library that cannot be loaded is named", "[.][unavailable]") {
  const std::string file = "libcudnn.so." + std::to_string(CUDNN_MAJOR);
  CHECK(!is_available());
  CHECK(unavailable_reason().find(file) != std::string::npos);
  check_error([] { version(); }, {file.c_str()});
  check_error([] { TensorDescriptor("input", CUDNN_DATA_FLOAT, {.n = 1, .c = 1}); }, {file.c_str()});
}

TEST_CASE("Status codes become errors in the library's words", "[cudnn][errors]") {
  CHECK_NOTHROW(check(CUDNN_STATUS_SUCCESS, "cudnnCreate"));
  CHECK_NOTHROW(check(CUBLAS_STATUS_SUCCESS, "cublasCreate"));
  check_error([] { check(CUDNN_STATUS_BAD_PARAM, "cudnnCreate"); },
              {"cudnn: cudnnCreate failed at ", "library_test.cpp:", "CUDNN_STATUS_BAD_PARAM"});
  check_error([] { check(CUBLAS_STATUS_INVALID_VALUE, "cublasCreate"); },
              {"cudnn: cublasCreate failed at ", "library_test.cpp:", "unsupported value"});
  check_unsupported([] { check(CUDNN_STATUS_NOT_SUPPORTED, "cudnnCreate"); }, {"CUDNN_STATUS_NOT_SUPPORTED"});
  check_unsupported([] { check(CUDNN_STATUS_NOT_SUPPORTED_SHAPE, "cudnnCreate"); }, {"SHAPE"});
  check_unsupported([] { check(CUBLAS_STATUS_NOT_SUPPORTED, "cublasCreate"); }, {"not supported"});
  check_unsupported([] { check(CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE, "call"); }, {"SUBLIBRARY"});
  for (const cudnnStatus_t status :
       {CUDNN_STATUS_BAD_PARAM, CUDNN_STATUS_INTERNAL_ERROR, CUDNN_STATUS_EXECUTION_FAILED})
    CHECK(!throws_unsupported([=] { check(status, "call"); }));
  CHECK(!throws_unsupported([] { check(CUBLAS_STATUS_INVALID_VALUE, "call"); }));
}

TEST_CASE("What cuDNN cannot describe is refused before it is asked", "[cudnn][errors]") {
  const auto make_descriptor = [](const ArrayShape& shape) {
    TensorDescriptor("conv2d: input", CUDNN_DATA_FLOAT, shape);
  };
  check_unsupported([&] { make_descriptor({.n = 0, .c = 3, .h = 7, .w = 5}); },
                    {"conv2d: input 0x3x7x5", "empty"});
  check_unsupported([&] { make_descriptor({.n = 2, .c = 3, .h = 0, .w = 5}); }, {"2x3x0x5", "empty"});
  check_unsupported([&] { make_descriptor({.n = too_large, .c = 1}); }, {"2147483648x1x1x1", "too large"});
  check_unsupported([&] { make_descriptor({.n = 1 << 16, .c = 1 << 15}); }, {"65536x32768x1x1", "too large"});
  check_unsupported([&] { make_descriptor({.n = 1 << 30, .c = 1 << 30, .h = 1 << 30, .w = 1 << 30}); },
                    {"too large"});
  CHECK_NOTHROW(make_descriptor({.n = 1, .c = std::numeric_limits<int>::max()}));
  check_unsupported(
      [] { FilterDescriptor("conv2d: weight", CUDNN_DATA_FLOAT, {.n = 3, .c = 0, .h = 1, .w = 1}); },
      {"conv2d: weight", "empty"});
  Conv2dProblem strided = cases::conv2d[0];
  strided.stride_w = too_large;
  check_unsupported([&] { ConvolutionDescriptor(strided, CUDNN_DATA_FLOAT, CUDNN_FMA_MATH); },
                    {"conv2d: stride 2147483648", "too large"});
  Pool2dProblem wide = cases::pool2d[0];
  wide.k_w = 1001;
  check_unsupported([&] { PoolingDescriptor("max_pool2d", wide, CUDNN_POOLING_MAX_DETERMINISTIC); },
                    {"max_pool2d", "1001"});
}

using Extents = std::array<int, 4>;

template <class T>
void check_convolution(const Conv2dProblem& p) {
  INFO(describe(p));
  const TensorDescriptor input("input", data_type<T>, {.n = p.n, .c = p.c_in, .h = p.h, .w = p.w});
  const FilterDescriptor weight("weight", data_type<T>,
                                {.n = p.c_out, .c = p.c_in / p.groups, .h = p.k_h, .w = p.k_w});
  const ConvolutionDescriptor convolution(p, data_type<T>, CUDNN_FMA_MATH);
  Extents found = {};
  check(cudnn_library().cudnnGetConvolution2dForwardOutputDim(convolution.get(), input.get(), weight.get(),
                                                              &found[0], &found[1], &found[2], &found[3]),
        "cudnnGetConvolution2dForwardOutputDim");
  const Extents expected = {static_cast<int>(p.n), static_cast<int>(p.c_out), static_cast<int>(p.out_h()),
                            static_cast<int>(p.out_w())};
  CHECK(found == expected);
}

TEST_CASE("cuDNN expects the output of a convolution that we allocate", "[cudnn][conv2d]") {
  for (const Conv2dProblem& p : cases::conv2d) {
    check_convolution<float>(p);
    check_convolution<double>(p);
  }
  for (const Conv2dProblem& p : cases::conv2d_large) check_convolution<float>(p);
}

TEST_CASE("cuDNN expects the output of a pooling that we allocate", "[cudnn][pool2d]") {
  for (const Pool2dProblem& p : cases::pool2d)
    for (const cudnnPoolingMode_t mode :
         {CUDNN_POOLING_MAX, CUDNN_POOLING_MAX_DETERMINISTIC, CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING,
          CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING}) {
      INFO(describe(p) << ", mode " << mode);
      const TensorDescriptor input("input", CUDNN_DATA_DOUBLE, {.n = 1, .c = p.planes, .h = p.h, .w = p.w});
      const PoolingDescriptor window("pool2d", p, mode);
      Extents found = {};
      check(cudnn_library().cudnnGetPooling2dForwardOutputDim(window.get(), input.get(), &found[0], &found[1],
                                                              &found[2], &found[3]),
            "cudnnGetPooling2dForwardOutputDim");
      const Extents expected = {1, static_cast<int>(p.planes), static_cast<int>(p.out_h()),
                                static_cast<int>(p.out_w())};
      CHECK(found == expected);
    }
}

TEST_CASE("cuDNN derives the description of batch norm's parameters that we give", "[cudnn][batch_norm]") {
  using Strides = std::array<int, 8>;
  // Of no use to the library itself.
  decltype(&::cudnnGetTensor4dDescriptor) get = nullptr;
  SharedLibrary("libcudnn.so." + std::to_string(CUDNN_MAJOR)).find(get, "cudnnGetTensor4dDescriptor");
  const TensorDescriptor activations("input", CUDNN_DATA_DOUBLE, {.n = 7, .c = 33, .h = 65});
  const TensorDescriptor derived("parameters", CUDNN_DATA_FLOAT, {.n = 1, .c = 1});
  check(cudnn_library().cudnnDeriveBNTensorDescriptor(derived.get(), activations.get(),
                                                      CUDNN_BATCHNORM_SPATIAL),
        "cudnnDeriveBNTensorDescriptor");
  const auto numbers_of = [get](const TensorDescriptor& tensor) {
    cudnnDataType_t type = {};
    Strides s = {};
    check(get(tensor.get(), &type, &s[0], &s[1], &s[2], &s[3], &s[4], &s[5], &s[6], &s[7]),
          "cudnnGetTensor4dDescriptor");
    return std::make_pair(type, s);
  };
  CHECK(numbers_of(derived) == numbers_of({"gamma", CUDNN_DATA_DOUBLE, {.n = 1, .c = 33}}));
}

}  // namespace
}  // namespace kg::kernels::cudnn
