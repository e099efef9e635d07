// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstddef>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "device.h"
#include "kernels/cudnn/library.h"

/// What the tests of the stand-ins share: descriptors, handles, and values.

inline const kg::kernels::cudnn::CudnnFunctions& cudnn() { return kg::kernels::cudnn::cudnn_library(); }
inline const kg::kernels::cudnn::CublasFunctions& cublas() { return kg::kernels::cudnn::cublas_library(); }

inline void check(cudnnStatus_t status) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char reason[256] = "";
  cudnn().cudnnGetLastErrorString(reason, sizeof reason);
  throw std::runtime_error(std::string(cudnn().cudnnGetErrorString(status)) + ", " + reason);
}
inline void check(cublasStatus_t status) {
  if (status != CUBLAS_STATUS_SUCCESS) throw std::runtime_error(cublas().cublasGetStatusString(status));
}

template <class T>
constexpr cudnnDataType_t type_of = std::is_same_v<T, double> ? CUDNN_DATA_DOUBLE : CUDNN_DATA_FLOAT;

struct Dims {
  int n, c, h, w;
  std::size_t size() const { return static_cast<std::size_t>(n * c * h * w); }
  std::size_t index(int i, int j, int y, int x) const {
    return static_cast<std::size_t>(((i * c + j) * h + y) * w + x);
  }
};

struct Handle {
  cudnnHandle_t handle = nullptr;
  CUstream_st* stream = device::create_stream();
  Handle() {
    check(cudnn().cudnnCreate(&handle));
    check(cudnn().cudnnSetStream(handle, stream));
  }
  ~Handle() {
    static_cast<void>(cudnn().cudnnDestroy(handle));
    device::destroy_stream(stream);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
};

struct Tensor {
  cudnnTensorDescriptor_t descriptor = nullptr;
  explicit Tensor(const Dims& d, cudnnDataType_t type = CUDNN_DATA_FLOAT) {
    check(cudnn().cudnnCreateTensorDescriptor(&descriptor));
    check(cudnn().cudnnSetTensor4dDescriptor(descriptor, CUDNN_TENSOR_NCHW, type, d.n, d.c, d.h, d.w));
  }
  ~Tensor() { static_cast<void>(cudnn().cudnnDestroyTensorDescriptor(descriptor)); }
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
};

struct Filter {
  cudnnFilterDescriptor_t descriptor = nullptr;
  explicit Filter(const Dims& d, cudnnDataType_t type = CUDNN_DATA_FLOAT) {
    check(cudnn().cudnnCreateFilterDescriptor(&descriptor));
    check(cudnn().cudnnSetFilter4dDescriptor(descriptor, type, CUDNN_TENSOR_NCHW, d.n, d.c, d.h, d.w));
  }
  ~Filter() { static_cast<void>(cudnn().cudnnDestroyFilterDescriptor(descriptor)); }
  Filter(const Filter&) = delete;
  Filter& operator=(const Filter&) = delete;
};

struct ConvolutionOptions {
  int pad_h = 0, pad_w = 0, stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1, groups = 1;
  cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  cudnnMathType_t math = CUDNN_FMA_MATH;
};

struct ConvolutionDescriptor {
  cudnnConvolutionDescriptor_t descriptor = nullptr;
  explicit ConvolutionDescriptor(const ConvolutionOptions& o, cudnnDataType_t type = CUDNN_DATA_FLOAT) {
    check(cudnn().cudnnCreateConvolutionDescriptor(&descriptor));
    check(cudnn().cudnnSetConvolution2dDescriptor(descriptor, o.pad_h, o.pad_w, o.stride_h, o.stride_w,
                                                  o.dilation_h, o.dilation_w, o.mode, type));
    check(cudnn().cudnnSetConvolutionGroupCount(descriptor, o.groups));
    check(cudnn().cudnnSetConvolutionMathType(descriptor, o.math));
  }
  ~ConvolutionDescriptor() { static_cast<void>(cudnn().cudnnDestroyConvolutionDescriptor(descriptor)); }
  ConvolutionDescriptor(const ConvolutionDescriptor&) = delete;
  ConvolutionDescriptor& operator=(const ConvolutionDescriptor&) = delete;
};

/// Values that look random, none of them representable in TF32.
template <class T>
std::vector<T> values(std::size_t size, int seed) {
  std::vector<T> result(size);
  for (std::size_t i = 0; i < size; ++i)
    result[i] = static_cast<T>(std::sin(1.7 * static_cast<double>(i) + 0.9 * seed + 0.3));
  return result;
}
