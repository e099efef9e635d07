// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include "kernels/conv2d.h"
#include "kernels/cudnn/check.h"
#include "kernels/pool2d_problem.h"

/// cuDNN's descriptions of arrays, convolutions and windows, made from ours. What cuDNN cannot describe is
/// Unsupported.
namespace kg::kernels::cudnn {

template <class T>
inline constexpr cudnnDataType_t data_type = std::is_same_v<T, float> ? CUDNN_DATA_FLOAT : CUDNN_DATA_DOUBLE;

/// The factors of "result = one * operation + zero * what was there before", which the libraries read from
/// the host, in the type of the elements. Hidden by name: GCC would export instances of a variable template,
/// whatever -fvisibility says.
template <class T>
[[gnu::visibility("hidden")]] inline constexpr T one = 1;
template <class T>
[[gnu::visibility("hidden")]] inline constexpr T zero = 0;

/// `what` is the operation and the parameter: "conv2d: padding".
inline int as_int(const std::string& what, std::int64_t value) {
  if (value > std::numeric_limits<int>::max())
    throw Unsupported(what + " " + std::to_string(value) + " is too large for cudnn, which counts in int32");
  return static_cast<int>(value);
}

struct ArrayShape {
  std::int64_t n, c, h = 1, w = 1;
};

inline std::string describe(const ArrayShape& shape) {
  return std::to_string(shape.n) + "x" + std::to_string(shape.c) + "x" + std::to_string(shape.h) + "x" +
         std::to_string(shape.w);
}

/// Throws Unsupported for arrays without elements, and for such that int32 cannot count. `what` is the
/// operation and the array: "conv2d: input".
inline void require_describable(const std::string& what, const ArrayShape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : {shape.n, shape.c, shape.h, shape.w}) {
    if (extent < 1) throw Unsupported(what + " " + describe(shape) + " is empty, which cudnn does not take");
    if (extent > std::numeric_limits<int>::max() / count)
      throw Unsupported(what + " " + describe(shape) + " is too large for cudnn, which counts in int32");
    count *= extent;
  }
}

/// A descriptor of cuDNN's for the length of its own life.
template <class Handle, auto create, auto destroy>
class Descriptor {
 public:
  Descriptor() { check((cudnn_library().*create)(&handle_), "creating a descriptor"); }
  ~Descriptor() { static_cast<void>((cudnn_library().*destroy)(handle_)); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  Handle get() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};

/// A contiguous NCHW array.
class TensorDescriptor
    : public Descriptor<cudnnTensorDescriptor_t, &CudnnFunctions::cudnnCreateTensorDescriptor,
                        &CudnnFunctions::cudnnDestroyTensorDescriptor> {
 public:
  TensorDescriptor(const std::string& what, cudnnDataType_t type, const ArrayShape& shape) {
    require_describable(what, shape);
    check(cudnn_library().cudnnSetTensor4dDescriptor(get(), CUDNN_TENSOR_NCHW, type,
                                                     static_cast<int>(shape.n), static_cast<int>(shape.c),
                                                     static_cast<int>(shape.h), static_cast<int>(shape.w)),
          "cudnnSetTensor4dDescriptor");
  }
};

/// A convolution's weight.
class FilterDescriptor
    : public Descriptor<cudnnFilterDescriptor_t, &CudnnFunctions::cudnnCreateFilterDescriptor,
                        &CudnnFunctions::cudnnDestroyFilterDescriptor> {
 public:
  FilterDescriptor(const std::string& what, cudnnDataType_t type, const ArrayShape& shape) {
    require_describable(what, shape);
    check(cudnn_library().cudnnSetFilter4dDescriptor(get(), type, CUDNN_TENSOR_NCHW,
                                                     static_cast<int>(shape.n), static_cast<int>(shape.c),
                                                     static_cast<int>(shape.h), static_cast<int>(shape.w)),
          "cudnnSetFilter4dDescriptor");
  }
};

/// Stride, padding, dilation, groups and how products may be rounded.
class ConvolutionDescriptor
    : public Descriptor<cudnnConvolutionDescriptor_t, &CudnnFunctions::cudnnCreateConvolutionDescriptor,
                        &CudnnFunctions::cudnnDestroyConvolutionDescriptor> {
 public:
  ConvolutionDescriptor(const Conv2dProblem& p, cudnnDataType_t type, cudnnMathType_t math) {
    // What cuDNN computes from them is an int too; the window fits into the padded image.
    as_int("conv2d: padded height", p.h + 2 * p.padding_h);
    as_int("conv2d: padded width", p.w + 2 * p.padding_w);
    check(cudnn_library().cudnnSetConvolution2dDescriptor(
              get(), as_int("conv2d: padding", p.padding_h), as_int("conv2d: padding", p.padding_w),
              as_int("conv2d: stride", p.stride_h), as_int("conv2d: stride", p.stride_w),
              as_int("conv2d: dilation", p.dilation_h), as_int("conv2d: dilation", p.dilation_w),
              CUDNN_CROSS_CORRELATION, type),
          "cudnnSetConvolution2dDescriptor");
    check(cudnn_library().cudnnSetConvolutionGroupCount(get(), as_int("conv2d: groups", p.groups)),
          "cudnnSetConvolutionGroupCount");
    set_math(math);
  }

  void set_math(cudnnMathType_t math) {
    check(cudnn_library().cudnnSetConvolutionMathType(get(), math), "cudnnSetConvolutionMathType");
  }
};

/// A window and how it moves.
class PoolingDescriptor
    : public Descriptor<cudnnPoolingDescriptor_t, &CudnnFunctions::cudnnCreatePoolingDescriptor,
                        &CudnnFunctions::cudnnDestroyPoolingDescriptor> {
 public:
  PoolingDescriptor(const std::string& op, const Pool2dProblem& p, cudnnPoolingMode_t mode) {
    check(cudnn_library().cudnnSetPooling2dDescriptor(
              get(), mode, CUDNN_PROPAGATE_NAN, window_extent(op, p.k_h), window_extent(op, p.k_w),
              as_int(op + ": padding", p.padding_h), as_int(op + ": padding", p.padding_w),
              as_int(op + ": stride", p.stride_h), as_int(op + ": stride", p.stride_w)),
          "cudnnSetPooling2dDescriptor");
  }

 private:
  static int window_extent(const std::string& op, std::int64_t extent) {
    // cuDNN states no limit, but was seen to fail for a window of 1100, and not of 1000, when launched
    // (apache/mxnet issue 4376), which is later than the problem can be passed on.
    if (extent > 1000)
      throw Unsupported(op + ": cudnn's windows of more than 1000 are not relied on, and this one has " +
                        std::to_string(extent));
    return static_cast<int>(extent);
  }
};

}  // namespace kg::kernels::cudnn
