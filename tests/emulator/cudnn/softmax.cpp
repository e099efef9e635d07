// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "descriptors.h"

/// Softmax and its logarithm, over all of an image or over the channels at each place.
namespace standin {

namespace {

void check_options(cudnnSoftmaxAlgorithm_t algorithm, cudnnSoftmaxMode_t mode) {
  require(algorithm >= CUDNN_SOFTMAX_FAST && algorithm <= CUDNN_SOFTMAX_LOG, "unknown algorithm");
  require(mode == CUDNN_SOFTMAX_MODE_INSTANCE || mode == CUDNN_SOFTMAX_MODE_CHANNEL, "unknown mode");
  require(algorithm != CUDNN_SOFTMAX_FAST, "the stand-in knows no CUDNN_SOFTMAX_FAST",
          CUDNN_STATUS_NOT_SUPPORTED);
}

using Group = std::vector<std::size_t>;

/// The groups of elements whose exponentials are summed.
std::vector<Group> groups_of(const Shape& shape, cudnnSoftmaxMode_t mode) {
  const bool channels = mode == CUDNN_SOFTMAX_MODE_CHANNEL;
  const std::size_t image = shape.size() / static_cast<std::size_t>(shape.n);
  const std::size_t stride = channels ? shape.plane() : 1, per_image = channels ? shape.plane() : 1;
  std::vector<Group> groups;
  for (std::size_t n = 0; n < static_cast<std::size_t>(shape.n); ++n)
    for (std::size_t first = 0; first < per_image; ++first) {
      Group group;
      for (std::size_t i = first; i < image; i += stride) group.push_back(n * image + i);
      groups.push_back(std::move(group));
    }
  return groups;
}

void softmax(const Group& group, const std::vector<double>& x, bool log, std::vector<double>& y) {
  double largest = x[group.front()], sum = 0;
  for (const std::size_t i : group) largest = std::max(largest, x[i]);
  for (const std::size_t i : group) sum += std::exp(x[i] - largest);
  for (const std::size_t i : group)
    y[i] = log ? x[i] - largest - std::log(sum) : std::exp(x[i] - largest) / sum;
}

void gradient(const Group& group, const std::vector<double>& y, const std::vector<double>& dy, bool log,
              std::vector<double>& dx) {
  double sum = 0;
  for (const std::size_t i : group) sum += log ? dy[i] : dy[i] * y[i];
  for (const std::size_t i : group) dx[i] = log ? dy[i] - std::exp(y[i]) * sum : y[i] * (dy[i] - sum);
}

}  // namespace

}  // namespace standin

using namespace standin;

cudnnStatus_t cudnnSoftmaxForward(cudnnHandle_t handle, cudnnSoftmaxAlgorithm_t algo, cudnnSoftmaxMode_t mode,
                                  const void* alpha, const cudnnTensorDescriptor_t xDesc, const void* x,
                                  const void* beta, const cudnnTensorDescriptor_t yDesc, void* y) {
  return return_status("cudnnSoftmaxForward", [&] {
    check_options(algo, mode);
    const Shape shape = shape_of(xDesc, "xDesc");
    require(shape_of(yDesc, "yDesc") == shape, "xDesc and yDesc differ");
    DeviceCall call("cudnnSoftmaxForward", stream_of(handle));
    const double a = scalar(call.function(), "alpha", alpha, shape),
                 b = scalar(call.function(), "beta", beta, shape);
    const Array from = array("x", x, shape), to = array("y", y, shape);
    call.reads(from);
    call.writes(to);
    const auto work = [=] {
      const std::vector<double> values = load(from);
      std::vector<double> results(values.size());
      for (const Group& group : groups_of(shape, mode))
        softmax(group, values, algo == CUDNN_SOFTMAX_LOG, results);
      blend(to, a, results, b);
    };
    run(call, work, "x");
  });
}

cudnnStatus_t cudnnSoftmaxBackward(cudnnHandle_t handle, cudnnSoftmaxAlgorithm_t algo,
                                   cudnnSoftmaxMode_t mode, const void* alpha,
                                   const cudnnTensorDescriptor_t yDesc, const void* y,
                                   const cudnnTensorDescriptor_t dyDesc, const void* dy, const void* beta,
                                   const cudnnTensorDescriptor_t dxDesc, void* dx) {
  return return_status("cudnnSoftmaxBackward", [&] {
    check_options(algo, mode);
    const Shape shape = shape_of(yDesc, "yDesc");
    require(shape_of(dyDesc, "dyDesc") == shape && shape_of(dxDesc, "dxDesc") == shape,
            "yDesc, dyDesc and dxDesc differ");
    DeviceCall call("cudnnSoftmaxBackward", stream_of(handle));
    const double a = scalar(call.function(), "alpha", alpha, shape),
                 b = scalar(call.function(), "beta", beta, shape);
    const Array output = array("y", y, shape), grad = array("dy", dy, shape), to = array("dx", dx, shape);
    call.reads(output);
    call.reads(grad);
    call.writes(to);
    const auto work = [=] {
      const std::vector<double> values = load(output), grads = load(grad);
      std::vector<double> results(values.size());
      for (const Group& group : groups_of(shape, mode))
        gradient(group, values, grads, algo == CUDNN_SOFTMAX_LOG, results);
      blend(to, a, results, b);
    };
    run(call, work, "dy");
  });
}
