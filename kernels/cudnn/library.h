// SPDX-License-Identifier: MIT
#pragma once

#include <cublas_v2.h>
#include <cudnn.h>

/// The functions of cuDNN and cuBLAS that are used, found in the libraries at run time. Linking with them
/// would keep every program from starting on a machine that lacks their 500 MB.
namespace kg::kernels::cudnn {

#define KG_CUDNN_FUNCTIONS(F)                       \
  F(cudnnGetVersion)                                \
  F(cudnnGetErrorString)                            \
  F(cudnnGetLastErrorString)                        \
  F(cudnnCreate)                                    \
  F(cudnnDestroy)                                   \
  F(cudnnSetStream)                                 \
  F(cudnnCreateTensorDescriptor)                    \
  F(cudnnDestroyTensorDescriptor)                   \
  F(cudnnSetTensor4dDescriptor)                     \
  F(cudnnAddTensor)                                 \
  F(cudnnCreateFilterDescriptor)                    \
  F(cudnnDestroyFilterDescriptor)                   \
  F(cudnnSetFilter4dDescriptor)                     \
  F(cudnnCreateConvolutionDescriptor)               \
  F(cudnnDestroyConvolutionDescriptor)              \
  F(cudnnSetConvolution2dDescriptor)                \
  F(cudnnSetConvolutionGroupCount)                  \
  F(cudnnSetConvolutionMathType)                    \
  F(cudnnGetConvolution2dForwardOutputDim)          \
  F(cudnnGetConvolutionForwardAlgorithm_v7)         \
  F(cudnnGetConvolutionForwardWorkspaceSize)        \
  F(cudnnConvolutionForward)                        \
  F(cudnnGetConvolutionBackwardDataAlgorithm_v7)    \
  F(cudnnGetConvolutionBackwardDataWorkspaceSize)   \
  F(cudnnConvolutionBackwardData)                   \
  F(cudnnGetConvolutionBackwardFilterAlgorithm_v7)  \
  F(cudnnGetConvolutionBackwardFilterWorkspaceSize) \
  F(cudnnConvolutionBackwardFilter)                 \
  F(cudnnConvolutionBackwardBias)                   \
  F(cudnnDeriveBNTensorDescriptor)                  \
  F(cudnnBatchNormalizationForwardTraining)         \
  F(cudnnBatchNormalizationForwardInference)        \
  F(cudnnBatchNormalizationBackward)                \
  F(cudnnCreatePoolingDescriptor)                   \
  F(cudnnDestroyPoolingDescriptor)                  \
  F(cudnnSetPooling2dDescriptor)                    \
  F(cudnnGetPooling2dForwardOutputDim)              \
  F(cudnnPoolingForward)                            \
  F(cudnnPoolingBackward)                           \
  F(cudnnSoftmaxForward)                            \
  F(cudnnSoftmaxBackward)

#define KG_CUBLAS_FUNCTIONS(F) \
  F(cublasGetProperty)         \
  F(cublasGetStatusString)     \
  F(cublasCreate_v2)           \
  F(cublasDestroy_v2)          \
  F(cublasSetStream_v2)        \
  F(cublasSetWorkspace_v2)     \
  F(cublasSetMathMode)         \
  F(cublasSgemm_v2)            \
  F(cublasDgemm_v2)

#define KG_POINTER(function) decltype(&::function) function = nullptr;
struct CudnnFunctions {
  KG_CUDNN_FUNCTIONS(KG_POINTER)
};
struct CublasFunctions {
  KG_CUBLAS_FUNCTIONS(KG_POINTER)
};
#undef KG_POINTER

/// Loaded at the first call. Throw Error naming the file or the function that was not found.
const CudnnFunctions& cudnn_library();
const CublasFunctions& cublas_library();

}  // namespace kg::kernels::cudnn
