// SPDX-License-Identifier: MIT
#include "convolution.h"

/// Convolution in its three directions: each adds the same products, to another of the three tensors.
namespace standin {

namespace {

/// Calls visit(index in x, index in w, index in y) for every product of one row of outputs.
template <class Visit>
void for_each_product(const Convolution& p, int n, int k, int oy, const Visit& visit) {
  const int first_channel = k / (p.w.n / p.groups) * p.w.c;
  const std::size_t y_row = p.y.index(n, k, oy, 0);
  for (int c = 0; c < p.w.c; ++c)
    for (int ky = 0; ky < p.w.h; ++ky) {
      const int y = oy * p.stride_h - p.pad_h + ky * p.dilation_h;
      if (y < 0 || y >= p.x.h) continue;
      const std::size_t x_row = p.x.index(n, first_channel + c, y, 0);
      for (int kx = 0; kx < p.w.w; ++kx) {
        const std::size_t w = p.w.index(k, c, p.flip ? p.w.h - 1 - ky : ky, p.flip ? p.w.w - 1 - kx : kx);
        int x = kx * p.dilation_w - p.pad_w;
        for (int ox = 0; ox < p.y.w; ++ox, x += p.stride_w)
          if (x >= 0 && x < p.x.w)
            visit(x_row + static_cast<std::size_t>(x), w, y_row + static_cast<std::size_t>(ox));
      }
    }
}

template <class Visit>
void for_each_product(const Convolution& p, const Visit& visit) {
  for (int n = 0; n < p.y.n; ++n)
    for (int k = 0; k < p.y.c; ++k)
      for (int oy = 0; oy < p.y.h; ++oy) for_each_product(p, n, k, oy, visit);
}

/// An operand, as the math type lets a real library see it.
std::vector<double> load_operand(const Array& array, const Convolution& convolution) {
  std::vector<double> values = load(array);
  if (convolution.allows_tf32())
    for (double& value : values) value = to_tf32(value);
  return values;
}

/// The sums for the direction's result out of its two operands: x, w and y without that result, in order.
std::vector<double> sums(Direction direction, const Convolution& convolution, const Array& first,
                         const Array& second, std::size_t size) {
  const std::vector<double> a = load_operand(first, convolution), b = load_operand(second, convolution);
  std::vector<double> result(size);
  switch (direction) {
    case Direction::forward:
      for_each_product(convolution, [&](auto x, auto w, auto y) { result[y] += a[x] * b[w]; });
      break;
    case Direction::backward_data:
      for_each_product(convolution, [&](auto x, auto w, auto y) { result[x] += a[w] * b[y]; });
      break;
    case Direction::backward_filter:
      for_each_product(convolution, [&](auto x, auto w, auto y) { result[w] += a[x] * b[y]; });
      break;
  }
  return result;
}

struct Workspace {
  void* memory;
  std::size_t bytes;
};

/// The workspace as an array, of what its memory is big enough for.
Array checked_workspace(const Workspace& given, std::size_t needed) {
  require(given.bytes >= needed, "the workspace is too small", CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
  require(needed == 0 || given.memory, "workSpace is null");
  return {"workSpace", given.memory, given.bytes / sizeof(float), false};
}

/// One of the three functions, its descriptors checked.
struct Task {
  const char* function;
  Direction direction;
  Convolution convolution;
  int algorithm;
  const void *alpha, *beta;
  Array first, second, result;
  Workspace workspace;
};

void convolve(cudnnHandle_t handle, const Task& task) {
  const Algorithm algorithm = find_algorithm(task.direction, task.algorithm);
  const std::size_t needed = workspace_bytes(algorithm, task.convolution);
  const Array workspace = checked_workspace(task.workspace, needed);
  const double alpha = scalar(task.function, "alpha", task.alpha, task.convolution.x);
  const double beta = scalar(task.function, "beta", task.beta, task.convolution.x);
  DeviceCall call(task.function, stream_of(handle));
  call.reads(task.first);
  call.reads(task.second);
  call.writes(task.result);
  if (needed > 0) call.writes(workspace);
  run(call, [=, direction = task.direction, convolution = task.convolution, first = task.first,
             second = task.second, result = task.result] {
    if (needed > 0) scribble(workspace);
    std::vector<double> values = sums(direction, convolution, first, second, result.size);
    if (!algorithm.deterministic) perturb(values);
    blend(result, alpha, values, beta);
  });
}

}  // namespace

}  // namespace standin

using namespace standin;

cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha,
                                      const cudnnTensorDescriptor_t xDesc, const void* x,
                                      const cudnnFilterDescriptor_t wDesc, const void* w,
                                      const cudnnConvolutionDescriptor_t convDesc,
                                      cudnnConvolutionFwdAlgo_t algo, void* workSpace,
                                      size_t workSpaceSizeInBytes, const void* beta,
                                      const cudnnTensorDescriptor_t yDesc, void* y) {
  return return_status("cudnnConvolutionForward", [&] {
    const Convolution convolution = checked(xDesc, wDesc, convDesc, yDesc);
    convolve(handle, {.function = "cudnnConvolutionForward",
                      .direction = Direction::forward,
                      .convolution = convolution,
                      .algorithm = algo,
                      .alpha = alpha,
                      .beta = beta,
                      .first = array("x", x, convolution.x),
                      .second = array("w", w, convolution.w),
                      .result = array("y", y, convolution.y),
                      .workspace = {workSpace, workSpaceSizeInBytes}});
  });
}

cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void* alpha,
                                           const cudnnFilterDescriptor_t wDesc, const void* w,
                                           const cudnnTensorDescriptor_t dyDesc, const void* dy,
                                           const cudnnConvolutionDescriptor_t convDesc,
                                           cudnnConvolutionBwdDataAlgo_t algo, void* workSpace,
                                           size_t workSpaceSizeInBytes, const void* beta,
                                           const cudnnTensorDescriptor_t dxDesc, void* dx) {
  return return_status("cudnnConvolutionBackwardData", [&] {
    const Convolution convolution = checked(dxDesc, wDesc, convDesc, dyDesc);
    convolve(handle, {.function = "cudnnConvolutionBackwardData",
                      .direction = Direction::backward_data,
                      .convolution = convolution,
                      .algorithm = algo,
                      .alpha = alpha,
                      .beta = beta,
                      .first = array("w", w, convolution.w),
                      .second = array("dy", dy, convolution.y),
                      .result = array("dx", dx, convolution.x),
                      .workspace = {workSpace, workSpaceSizeInBytes}});
  });
}

cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void* alpha,
                                             const cudnnTensorDescriptor_t xDesc, const void* x,
                                             const cudnnTensorDescriptor_t dyDesc, const void* dy,
                                             const cudnnConvolutionDescriptor_t convDesc,
                                             cudnnConvolutionBwdFilterAlgo_t algo, void* workSpace,
                                             size_t workSpaceSizeInBytes, const void* beta,
                                             const cudnnFilterDescriptor_t dwDesc, void* dw) {
  return return_status("cudnnConvolutionBackwardFilter", [&] {
    const Convolution convolution = checked(xDesc, dwDesc, convDesc, dyDesc);
    convolve(handle, {.function = "cudnnConvolutionBackwardFilter",
                      .direction = Direction::backward_filter,
                      .convolution = convolution,
                      .algorithm = algo,
                      .alpha = alpha,
                      .beta = beta,
                      .first = array("x", x, convolution.x),
                      .second = array("dy", dy, convolution.y),
                      .result = array("dw", dw, convolution.w),
                      .workspace = {workSpace, workSpaceSizeInBytes}});
  });
}
