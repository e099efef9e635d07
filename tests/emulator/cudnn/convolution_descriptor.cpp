// SPDX-License-Identifier: MIT
#include "convolution.h"

/// Descriptors of convolutions, and whether they fit those of tensors.
namespace standin {

namespace {

const cudnnConvolutionStruct& convolution_of(cudnnConvolutionDescriptor_t descriptor) {
  const cudnnConvolutionStruct& convolution = registry<cudnnConvolutionStruct>().find(descriptor, "convDesc");
  require(convolution.set, "convDesc has not been set");
  return convolution;
}

int output_extent(int input, int kernel, int pad, int stride, int dilation) {
  const int extent = dilation * (kernel - 1) + 1;
  require(extent <= input + 2 * pad, "the filter is larger than the padded input");
  return (input + 2 * pad - extent) / stride + 1;
}

Shape output_shape(const cudnnConvolutionStruct& convolution, const Shape& x, const Shape& w) {
  require(x.c == w.c * convolution.groups, "xDesc's channels are not those of wDesc times the groups");
  return {x.type, x.n, w.n,
          output_extent(x.h, w.h, convolution.pad_h, convolution.stride_h, convolution.dilation_h),
          output_extent(x.w, w.w, convolution.pad_w, convolution.stride_w, convolution.dilation_w)};
}

}  // namespace

Convolution checked(cudnnTensorDescriptor_t x_descriptor, cudnnFilterDescriptor_t w_descriptor,
                    cudnnConvolutionDescriptor_t descriptor, cudnnTensorDescriptor_t y_descriptor) {
  const cudnnConvolutionStruct& convolution = convolution_of(descriptor);
  const Shape x = shape_of(x_descriptor, "the input's descriptor");
  const Shape w = shape_of(w_descriptor, "the filter's descriptor");
  const Shape y = shape_of(y_descriptor, "the output's descriptor");
  require(x.type == w.type && x.type == y.type, "input, filter and output have different data types");
  const Shape expected = output_shape(convolution, x, w);
  require(w.n % convolution.groups == 0, "the output channels are not a multiple of the groups");
  require(y.n == expected.n && y.c == expected.c, "the output is not N x K x ...");
  require(y == expected, "the output's height or width is not what the convolution gives",
          CUDNN_STATUS_NOT_SUPPORTED);
  require(convolution.compute_type == x.type, "the compute type is not the data type",
          CUDNN_STATUS_NOT_SUPPORTED);
  return {x,
          w,
          y,
          convolution.pad_h,
          convolution.pad_w,
          convolution.stride_h,
          convolution.stride_w,
          convolution.dilation_h,
          convolution.dilation_w,
          convolution.groups,
          convolution.mode == CUDNN_CONVOLUTION,
          convolution.math};
}

}  // namespace standin

using namespace standin;

cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* convDesc) {
  return return_status("cudnnCreateConvolutionDescriptor", [&] { create(convDesc); });
}

cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t convDesc) {
  return return_status("cudnnDestroyConvolutionDescriptor", [&] { destroy(convDesc, "convDesc"); });
}

cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t convDesc, int pad_h, int pad_w,
                                              int u, int v, int dilation_h, int dilation_w,
                                              cudnnConvolutionMode_t mode, cudnnDataType_t computeType) {
  return return_status("cudnnSetConvolution2dDescriptor", [&] {
    cudnnConvolutionStruct& convolution = registry<cudnnConvolutionStruct>().find(convDesc, "convDesc");
    require(pad_h >= 0 && pad_w >= 0, "a padding is negative");
    require(u > 0 && v > 0, "a stride is not positive");
    require(dilation_h > 0 && dilation_w > 0, "a dilation is not positive");
    require(mode == CUDNN_CONVOLUTION || mode == CUDNN_CROSS_CORRELATION, "unknown mode");
    require(computeType == CUDNN_DATA_FLOAT || computeType == CUDNN_DATA_DOUBLE,
            "the stand-in computes with float and double only", CUDNN_STATUS_NOT_SUPPORTED);
    convolution = {.set = true,
                   .pad_h = pad_h,
                   .pad_w = pad_w,
                   .stride_h = u,
                   .stride_w = v,
                   .dilation_h = dilation_h,
                   .dilation_w = dilation_w,
                   .groups = convolution.groups,
                   .mode = mode,
                   .compute_type = computeType,
                   .math = convolution.math};
  });
}

cudnnStatus_t cudnnSetConvolutionGroupCount(cudnnConvolutionDescriptor_t convDesc, int groupCount) {
  return return_status("cudnnSetConvolutionGroupCount", [&] {
    cudnnConvolutionStruct& convolution = registry<cudnnConvolutionStruct>().find(convDesc, "convDesc");
    require(groupCount > 0, "groupCount is not positive");
    convolution.groups = groupCount;
  });
}

cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t convDesc, cudnnMathType_t mathType) {
  return return_status("cudnnSetConvolutionMathType", [&] {
    cudnnConvolutionStruct& convolution = registry<cudnnConvolutionStruct>().find(convDesc, "convDesc");
    require(mathType >= CUDNN_DEFAULT_MATH && mathType <= CUDNN_FMA_MATH, "unknown math type");
    convolution.math = mathType;
  });
}

cudnnStatus_t cudnnGetConvolution2dForwardOutputDim(const cudnnConvolutionDescriptor_t convDesc,
                                                    const cudnnTensorDescriptor_t inputTensorDesc,
                                                    const cudnnFilterDescriptor_t filterDesc, int* n, int* c,
                                                    int* h, int* w) {
  return return_status("cudnnGetConvolution2dForwardOutputDim", [&] {
    require(n && c && h && w, "a place for a result is null");
    const Shape output = output_shape(convolution_of(convDesc), shape_of(inputTensorDesc, "inputTensorDesc"),
                                      shape_of(filterDesc, "filterDesc"));
    *n = output.n;
    *c = output.c;
    *h = output.h;
    *w = output.w;
  });
}
