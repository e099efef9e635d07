// SPDX-License-Identifier: MIT
#pragma once

#include "descriptors.h"

/// The parts of the stand-in's convolution.
namespace standin {

/// A convolution whose descriptors fit one another.
struct Convolution {
  Shape x, w, y;
  int pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w, groups;
  bool flip;  ///< a convolution as mathematics has it, not a cross-correlation
  cudnnMathType_t math;

  bool allows_tf32() const { return x.type == CUDNN_DATA_FLOAT && math != CUDNN_FMA_MATH; }
};

/// Refuses descriptors that do not exist, have not been set or do not fit.
Convolution checked(cudnnTensorDescriptor_t x, cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t,
                    cudnnTensorDescriptor_t y);

enum class Direction { forward, backward_data, backward_filter };

/// What an algorithm is like, whatever its name is in its direction.
struct Algorithm {
  enum class Workspace { none, some, absurd };

  int id;
  bool deterministic = true;
  bool tensor_ops = false;  ///< listed a second time, with TF32, where the math type permits
  bool supported = true;
  Workspace workspace = Workspace::some;
};

/// The algorithms of a direction in the order in which cudnnGetConvolution...Algorithm_v7() lists them.
const std::vector<Algorithm>& algorithms(Direction);
/// Refuses an algorithm that does not exist or is not supported.
const Algorithm& find_algorithm(Direction, int id);
std::size_t workspace_bytes(const Algorithm&, const Convolution&);

}  // namespace standin

struct cudnnConvolutionStruct {
  bool set = false;
  int pad_h = 0, pad_w = 0, stride_h = 0, stride_w = 0, dilation_h = 0, dilation_w = 0;
  int groups = 1;
  cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  cudnnDataType_t compute_type = CUDNN_DATA_FLOAT;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};
