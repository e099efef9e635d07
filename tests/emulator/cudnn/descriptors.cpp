// SPDX-License-Identifier: MIT
#include "descriptors.h"

#include <algorithm>
#include <cstring>
#include <initializer_list>

namespace standin {

namespace {

thread_local std::string last_error;

/// What a descriptor can be set to. Whatever kernelgrad does not use is not supported here.
Shape checked_shape(cudnnTensorFormat_t format, cudnnDataType_t type, std::initializer_list<int> dims) {
  require(format >= CUDNN_TENSOR_NCHW && format <= CUDNN_TENSOR_NCHW_VECT_C, "unknown format");
  require(type >= CUDNN_DATA_FLOAT && type <= CUDNN_DATA_COMPLEX_FP64, "unknown data type");
  double size = 1;
  for (const int extent : dims) {
    require(extent > 0, "a dimension is not positive");
    size *= extent;
  }
  require(size < 2147483648.0, "more than 2^31 - 1 elements", CUDNN_STATUS_NOT_SUPPORTED);
  require(format == CUDNN_TENSOR_NCHW, "the stand-in knows NCHW only", CUDNN_STATUS_NOT_SUPPORTED);
  require(type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_DOUBLE, "the stand-in knows float and double only",
          CUDNN_STATUS_NOT_SUPPORTED);
  const int* const d = dims.begin();
  return {type, d[0], d[1], d[2], d[3]};
}

}  // namespace

void set_last_error(const std::string& reason) { last_error = reason; }

Shape shape_of(cudnnTensorDescriptor_t descriptor, const char* argument) {
  const cudnnTensorStruct& tensor = registry<cudnnTensorStruct>().find(descriptor, argument);
  require(tensor.set, std::string(argument) + " has not been set");
  return tensor.shape;
}

Shape shape_of(cudnnFilterDescriptor_t descriptor, const char* argument) {
  const cudnnFilterStruct& filter = registry<cudnnFilterStruct>().find(descriptor, argument);
  require(filter.set, std::string(argument) + " has not been set");
  return filter.shape;
}

CUstream_st* stream_of(cudnnHandle_t handle) {
  return registry<cudnnContext>().find(handle, "handle").stream;
}

Array array(const char* argument, const void* memory, const Shape& shape) {
  require(memory != nullptr, std::string(argument) + " is null");
  return {argument, const_cast<void*>(memory), shape.size(), shape.is_double()};
}

double scalar(const char* function, const char* argument, const void* value, const Shape& shape) {
  require(value != nullptr, std::string(argument) + " is null");
  return read_scalar(function, argument, value, shape.is_double());
}

void run(DeviceCall& call, std::function<void()> work, const char* in_place) {
  require(call.run(std::move(work), in_place), "the capture of the stream is invalid",
          CUDNN_STATUS_EXECUTION_FAILED_CUDART);
}

}  // namespace standin

using namespace standin;

size_t cudnnGetVersion() { return CUDNN_VERSION; }

const char* cudnnGetErrorString(cudnnStatus_t status) {
  switch (status) {
    case CUDNN_STATUS_SUCCESS:
      return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_BAD_PARAM:
      return "CUDNN_STATUS_BAD_PARAM";
    case CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT:
      return "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT";
    case CUDNN_STATUS_NOT_SUPPORTED:
      return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_EXECUTION_FAILED_CUDART:
      return "CUDNN_STATUS_EXECUTION_FAILED_CUDART";
    default:
      return "CUDNN_UNKNOWN_STATUS";
  }
}

void cudnnGetLastErrorString(char* message, size_t max_size) {
  if (!message || max_size == 0) return;
  const std::size_t length = std::min(last_error.size(), max_size - 1);
  std::memcpy(message, last_error.data(), length);
  message[length] = '\0';
  last_error.clear();
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  emulator::check_no_capture("cudnnCreate");
  return return_status("cudnnCreate", [&] { create(handle); });
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  emulator::check_no_capture("cudnnDestroy");
  return return_status("cudnnDestroy", [&] { destroy(handle, "handle"); });
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  return return_status("cudnnSetStream", [&] {
    cudnnContext& context = registry<cudnnContext>().find(handle, "handle");
    emulator::check_stream("cudnnSetStream", stream);
    context.stream = stream;
  });
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* tensorDesc) {
  return return_status("cudnnCreateTensorDescriptor", [&] { create(tensorDesc); });
}

cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t tensorDesc) {
  return return_status("cudnnDestroyTensorDescriptor", [&] { destroy(tensorDesc, "tensorDesc"); });
}

cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t tensorDesc, cudnnTensorFormat_t format,
                                         cudnnDataType_t dataType, int n, int c, int h, int w) {
  return return_status("cudnnSetTensor4dDescriptor", [&] {
    cudnnTensorStruct& tensor = registry<cudnnTensorStruct>().find(tensorDesc, "tensorDesc");
    tensor.shape = checked_shape(format, dataType, {n, c, h, w});
    tensor.set = true;
  });
}

cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* filterDesc) {
  return return_status("cudnnCreateFilterDescriptor", [&] { create(filterDesc); });
}

cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t filterDesc) {
  return return_status("cudnnDestroyFilterDescriptor", [&] { destroy(filterDesc, "filterDesc"); });
}

cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t filterDesc, cudnnDataType_t dataType,
                                         cudnnTensorFormat_t format, int k, int c, int h, int w) {
  return return_status("cudnnSetFilter4dDescriptor", [&] {
    cudnnFilterStruct& filter = registry<cudnnFilterStruct>().find(filterDesc, "filterDesc");
    filter.shape = checked_shape(format, dataType, {k, c, h, w});
    filter.set = true;
  });
}
