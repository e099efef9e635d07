// SPDX-License-Identifier: MIT
#include <algorithm>

#include "convolution.h"

/// Algorithms of convolutions: which there are, what they need, and the lists to choose from. The lists
/// begin with what a careful program must not take.
namespace standin {

namespace {

template <class Algo>
Algorithm with_id(Algo id, Algorithm algorithm) {
  algorithm.id = static_cast<int>(id);
  return algorithm;
}

/// A name that exists, which nothing implements.
const Algorithm unsupported{.id = 0, .supported = false};
const Algorithm absurd{.id = 0, .workspace = Algorithm::Workspace::absurd};
const Algorithm nondeterministic{.id = 0, .deterministic = false};

/// An entry of the lists of cudnnGetConvolution...Algorithm_v7().
struct Entry {
  const Algorithm* algorithm;
  cudnnMathType_t math;
};

std::vector<Entry> entries(Direction direction, const Convolution& convolution) {
  std::vector<Entry> result;
  for (const Algorithm& algorithm : algorithms(direction))
    if (!algorithm.deterministic) result.push_back({&algorithm, CUDNN_FMA_MATH});
  for (const Algorithm& algorithm : algorithms(direction))
    if (algorithm.tensor_ops && convolution.allows_tf32())
      result.push_back({&algorithm, CUDNN_TENSOR_OP_MATH});
  for (const Algorithm& algorithm : algorithms(direction))
    if (algorithm.deterministic) result.push_back({&algorithm, CUDNN_FMA_MATH});
  return result;
}

template <class Perf>
void list(Direction direction, const Convolution& convolution, int requested, int* returned, Perf* results) {
  require(requested > 0, "requestedAlgoCount is not positive");
  require(returned && results, "a place for results is null");
  const std::vector<Entry> all = entries(direction, convolution);
  *returned = std::min(requested, static_cast<int>(all.size()));
  for (int i = 0; i < *returned; ++i) {
    const Algorithm& algorithm = *all[static_cast<std::size_t>(i)].algorithm;
    results[i] = {};
    results[i].algo = static_cast<decltype(results[i].algo)>(algorithm.id);
    results[i].status = algorithm.supported ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
    results[i].time = -1;
    results[i].memory = algorithm.supported ? workspace_bytes(algorithm, convolution) : 0;
    results[i].determinism = algorithm.deterministic ? CUDNN_DETERMINISTIC : CUDNN_NON_DETERMINISTIC;
    results[i].mathType = all[static_cast<std::size_t>(i)].math;
  }
}

void get_workspace_size(Direction direction, const Convolution& convolution, int algorithm, size_t* bytes) {
  require(bytes != nullptr, "sizeInBytes is null");
  *bytes = workspace_bytes(find_algorithm(direction, algorithm), convolution);
}

const std::vector<Algorithm>& forward_algorithms() {
  // All of the real ones are deterministic; their type has a field that may say otherwise.
  static const auto& algorithms = *new std::vector<Algorithm>{
      with_id(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED, nondeterministic),
      with_id(CUDNN_CONVOLUTION_FWD_ALGO_DIRECT, unsupported),
      with_id(CUDNN_CONVOLUTION_FWD_ALGO_FFT, absurd),
      with_id(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, {.id = 0, .tensor_ops = true}),
      with_id(CUDNN_CONVOLUTION_FWD_ALGO_GEMM, {}),
      with_id(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, {.id = 0, .workspace = Algorithm::Workspace::none}),
  };
  return algorithms;
}

const std::vector<Algorithm>& backward_data_algorithms() {
  static const auto& algorithms = *new std::vector<Algorithm>{
      with_id(CUDNN_CONVOLUTION_BWD_DATA_ALGO_0, nondeterministic),
      with_id(CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD, unsupported),
      with_id(CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT, absurd),
      with_id(CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, {.id = 0, .tensor_ops = true}),
      with_id(CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING, {}),
  };
  return algorithms;
}

const std::vector<Algorithm>& backward_filter_algorithms() {
  static const auto& algorithms = *new std::vector<Algorithm>{
      with_id(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, nondeterministic),
      with_id(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3, nondeterministic),
      with_id(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD, unsupported),
      with_id(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT, absurd),
      with_id(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, {.id = 0, .tensor_ops = true}),
      with_id(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING, {}),
  };
  return algorithms;
}

}  // namespace

const std::vector<Algorithm>& algorithms(Direction direction) {
  switch (direction) {
    case Direction::forward:
      return forward_algorithms();
    case Direction::backward_data:
      return backward_data_algorithms();
    default:
      return backward_filter_algorithms();
  }
}

const Algorithm& find_algorithm(Direction direction, int id) {
  constexpr int counts[] = {CUDNN_CONVOLUTION_FWD_ALGO_COUNT, CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT,
                            CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT};
  require(id >= 0 && id < counts[static_cast<int>(direction)], "unknown algorithm");
  const auto& all = algorithms(direction);
  const auto found = std::find_if(all.begin(), all.end(), [&](const Algorithm& algorithm) {
    return algorithm.id == id && algorithm.supported;
  });
  require(found != all.end(), "the algorithm does not support this convolution", CUDNN_STATUS_NOT_SUPPORTED);
  return *found;
}

std::size_t workspace_bytes(const Algorithm& algorithm, const Convolution& convolution) {
  if (algorithm.workspace == Algorithm::Workspace::none) return 0;
  if (algorithm.workspace == Algorithm::Workspace::absurd) return std::size_t{1} << 36;
  // The input's patches of one image, as for a convolution by a matrix product; another size for each.
  const std::size_t patches =
      static_cast<std::size_t>(convolution.x.c) * convolution.w.plane() * convolution.y.plane();
  return patches * (convolution.x.is_double() ? 8 : 4) + 520 * static_cast<std::size_t>(algorithm.id + 1);
}

}  // namespace standin

using namespace standin;

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t srcDesc, const cudnnFilterDescriptor_t filterDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnTensorDescriptor_t destDesc,
    const int requestedAlgoCount, int* returnedAlgoCount, cudnnConvolutionFwdAlgoPerf_t* perfResults) {
  return return_status("cudnnGetConvolutionForwardAlgorithm_v7", [&] {
    stream_of(handle);
    list(Direction::forward, checked(srcDesc, filterDesc, convDesc, destDesc), requestedAlgoCount,
         returnedAlgoCount, perfResults);
  });
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t filterDesc, const cudnnTensorDescriptor_t diffDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnTensorDescriptor_t gradDesc,
    const int requestedAlgoCount, int* returnedAlgoCount, cudnnConvolutionBwdDataAlgoPerf_t* perfResults) {
  return return_status("cudnnGetConvolutionBackwardDataAlgorithm_v7", [&] {
    stream_of(handle);
    list(Direction::backward_data, checked(gradDesc, filterDesc, convDesc, diffDesc), requestedAlgoCount,
         returnedAlgoCount, perfResults);
  });
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t srcDesc, const cudnnTensorDescriptor_t diffDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnFilterDescriptor_t gradDesc,
    const int requestedAlgoCount, int* returnedAlgoCount, cudnnConvolutionBwdFilterAlgoPerf_t* perfResults) {
  return return_status("cudnnGetConvolutionBackwardFilterAlgorithm_v7", [&] {
    stream_of(handle);
    list(Direction::backward_filter, checked(srcDesc, gradDesc, convDesc, diffDesc), requestedAlgoCount,
         returnedAlgoCount, perfResults);
  });
}

cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t handle,
                                                      const cudnnTensorDescriptor_t xDesc,
                                                      const cudnnFilterDescriptor_t wDesc,
                                                      const cudnnConvolutionDescriptor_t convDesc,
                                                      const cudnnTensorDescriptor_t yDesc,
                                                      cudnnConvolutionFwdAlgo_t algo, size_t* sizeInBytes) {
  return return_status("cudnnGetConvolutionForwardWorkspaceSize", [&] {
    stream_of(handle);
    get_workspace_size(Direction::forward, checked(xDesc, wDesc, convDesc, yDesc), algo, sizeInBytes);
  });
}

cudnnStatus_t cudnnGetConvolutionBackwardDataWorkspaceSize(
    cudnnHandle_t handle, const cudnnFilterDescriptor_t wDesc, const cudnnTensorDescriptor_t dyDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnTensorDescriptor_t dxDesc,
    cudnnConvolutionBwdDataAlgo_t algo, size_t* sizeInBytes) {
  return return_status("cudnnGetConvolutionBackwardDataWorkspaceSize", [&] {
    stream_of(handle);
    get_workspace_size(Direction::backward_data, checked(dxDesc, wDesc, convDesc, dyDesc), algo, sizeInBytes);
  });
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterWorkspaceSize(
    cudnnHandle_t handle, const cudnnTensorDescriptor_t xDesc, const cudnnTensorDescriptor_t dyDesc,
    const cudnnConvolutionDescriptor_t convDesc, const cudnnFilterDescriptor_t gradDesc,
    cudnnConvolutionBwdFilterAlgo_t algo, size_t* sizeInBytes) {
  return return_status("cudnnGetConvolutionBackwardFilterWorkspaceSize", [&] {
    stream_of(handle);
    get_workspace_size(Direction::backward_filter, checked(xDesc, gradDesc, convDesc, dyDesc), algo,
                       sizeInBytes);
  });
}
