// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>
#include <limits>

#include "descriptors.h"

/// Pooling: maxima and averages over windows.

struct cudnnPoolingStruct {
  bool set = false;
  cudnnPoolingMode_t mode = CUDNN_POOLING_MAX;
  cudnnNanPropagation_t nan = CUDNN_NOT_PROPAGATE_NAN;
  int window_h = 0, window_w = 0, pad_h = 0, pad_w = 0, stride_h = 0, stride_w = 0;

  bool is_max() const { return mode == CUDNN_POOLING_MAX || mode == CUDNN_POOLING_MAX_DETERMINISTIC; }
};

namespace standin {

namespace {

const cudnnPoolingStruct& pooling_of(cudnnPoolingDescriptor_t descriptor) {
  const cudnnPoolingStruct& pooling = registry<cudnnPoolingStruct>().find(descriptor, "poolingDesc");
  require(pooling.set, "poolingDesc has not been set");
  return pooling;
}

int output_extent(int input, int window, int pad, int stride) {
  require(window <= input + 2 * pad, "the window is larger than the padded input");
  return (input + 2 * pad - window) / stride + 1;
}

Shape output_shape(const cudnnPoolingStruct& pooling, const Shape& x) {
  return {x.type, x.n, x.c, output_extent(x.h, pooling.window_h, pooling.pad_h, pooling.stride_h),
          output_extent(x.w, pooling.window_w, pooling.pad_w, pooling.stride_w)};
}

/// A pooling whose descriptors fit one another.
struct Pooling {
  cudnnPoolingStruct options;
  Shape x, y;
};

Pooling checked(cudnnPoolingDescriptor_t descriptor, cudnnTensorDescriptor_t x_descriptor,
                cudnnTensorDescriptor_t y_descriptor) {
  const cudnnPoolingStruct& options = pooling_of(descriptor);
  const Shape x = shape_of(x_descriptor, "xDesc"), y = shape_of(y_descriptor, "yDesc");
  require(x.type == y.type, "xDesc and yDesc have different data types");
  require(y == output_shape(options, x), "yDesc is not what the pooling gives");
  require(options.pad_h >= 0 && options.pad_w >= 0 && options.pad_h < options.window_h &&
              options.pad_w < options.window_w,
          "a window may lie in the padding altogether", CUDNN_STATUS_NOT_SUPPORTED);
  return {options, x, y};
}

/// The elements of the input under the window of one output element.
std::vector<std::size_t> window_of(const Pooling& p, int n, int c, int oy, int ox) {
  const int top = oy * p.options.stride_h - p.options.pad_h, left = ox * p.options.stride_w - p.options.pad_w;
  std::vector<std::size_t> elements;
  for (int y = std::max(top, 0); y < std::min(top + p.options.window_h, p.x.h); ++y)
    for (int x = std::max(left, 0); x < std::min(left + p.options.window_w, p.x.w); ++x)
      elements.push_back(p.x.index(n, c, y, x));
  return elements;
}

/// Calls visit(index in y, window) for each output element.
template <class Visit>
void for_each_window(const Pooling& p, Visit visit) {
  for (int n = 0; n < p.y.n; ++n)
    for (int c = 0; c < p.y.c; ++c)
      for (int oy = 0; oy < p.y.h; ++oy)
        for (int ox = 0; ox < p.y.w; ++ox) visit(p.y.index(n, c, oy, ox), window_of(p, n, c, oy, ox));
}

double maximum(const Pooling& p, const std::vector<std::size_t>& window, const Array& x) {
  double result = -std::numeric_limits<double>::infinity();
  for (const std::size_t i : window) {
    const double value = load(x, i);
    if (std::isnan(value) && p.options.nan == CUDNN_PROPAGATE_NAN) return value;
    if (value > result) result = value;
  }
  return result;
}

double divisor(const Pooling& p, const std::vector<std::size_t>& window) {
  if (p.options.mode == CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING)
    return static_cast<double>(window.size());
  return static_cast<double>(p.options.window_h) * p.options.window_w;
}

double average(const Pooling& p, const std::vector<std::size_t>& window, const Array& x) {
  double sum = 0;
  for (const std::size_t i : window) sum += load(x, i);
  return sum / divisor(p, window);
}

bool equal(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

/// Which of several equal maxima gets the gradient is documented nowhere: here the last, where others take
/// the first. None, for a window of nothing but NaN that are not propagated.
void add_to_maximum(const std::vector<std::size_t>& window, const Array& x, double y, double dy,
                    std::vector<double>& dx) {
  const auto found =
      std::find_if(window.rbegin(), window.rend(), [&](std::size_t i) { return equal(load(x, i), y); });
  if (found != window.rend())
    dx[*found] += dy;
  else if (y != -std::numeric_limits<double>::infinity())
    emulator::library_fault("cudnnPoolingBackward",
                            "y is not the maximum of x: it is not what forward returned");
}

std::vector<double> gradient(const Pooling& p, const Array& x, const Array& y, const Array& dy) {
  std::vector<double> dx(p.x.size());
  for_each_window(p, [&](std::size_t o, const std::vector<std::size_t>& window) {
    if (p.options.is_max()) return add_to_maximum(window, x, load(y, o), load(dy, o), dx);
    for (const std::size_t i : window) dx[i] += load(dy, o) / divisor(p, window);
  });
  return dx;
}

}  // namespace

}  // namespace standin

using namespace standin;

cudnnStatus_t cudnnCreatePoolingDescriptor(cudnnPoolingDescriptor_t* poolingDesc) {
  return return_status("cudnnCreatePoolingDescriptor", [&] { create(poolingDesc); });
}

cudnnStatus_t cudnnDestroyPoolingDescriptor(cudnnPoolingDescriptor_t poolingDesc) {
  return return_status("cudnnDestroyPoolingDescriptor", [&] { destroy(poolingDesc, "poolingDesc"); });
}

cudnnStatus_t cudnnSetPooling2dDescriptor(cudnnPoolingDescriptor_t poolingDesc, cudnnPoolingMode_t mode,
                                          cudnnNanPropagation_t maxpoolingNanOpt, int windowHeight,
                                          int windowWidth, int verticalPadding, int horizontalPadding,
                                          int verticalStride, int horizontalStride) {
  return return_status("cudnnSetPooling2dDescriptor", [&] {
    cudnnPoolingStruct& pooling = registry<cudnnPoolingStruct>().find(poolingDesc, "poolingDesc");
    require(mode >= CUDNN_POOLING_MAX && mode <= CUDNN_POOLING_MAX_DETERMINISTIC, "unknown mode");
    require(maxpoolingNanOpt == CUDNN_PROPAGATE_NAN || maxpoolingNanOpt == CUDNN_NOT_PROPAGATE_NAN,
            "unknown maxpoolingNanOpt");
    require(windowHeight > 0 && windowWidth > 0, "a window's extent is not positive");
    require(verticalStride > 0 && horizontalStride > 0, "a stride is not positive");
    pooling = {.set = true,
               .mode = mode,
               .nan = maxpoolingNanOpt,
               .window_h = windowHeight,
               .window_w = windowWidth,
               .pad_h = verticalPadding,
               .pad_w = horizontalPadding,
               .stride_h = verticalStride,
               .stride_w = horizontalStride};
  });
}

cudnnStatus_t cudnnGetPooling2dForwardOutputDim(const cudnnPoolingDescriptor_t poolingDesc,
                                                const cudnnTensorDescriptor_t inputTensorDesc, int* n, int* c,
                                                int* h, int* w) {
  return return_status("cudnnGetPooling2dForwardOutputDim", [&] {
    require(n && c && h && w, "a place for a result is null");
    const Shape output = output_shape(pooling_of(poolingDesc), shape_of(inputTensorDesc, "inputTensorDesc"));
    *n = output.n;
    *c = output.c;
    *h = output.h;
    *w = output.w;
  });
}

cudnnStatus_t cudnnPoolingForward(cudnnHandle_t handle, const cudnnPoolingDescriptor_t poolingDesc,
                                  const void* alpha, const cudnnTensorDescriptor_t xDesc, const void* x,
                                  const void* beta, const cudnnTensorDescriptor_t yDesc, void* y) {
  return return_status("cudnnPoolingForward", [&] {
    const Pooling p = checked(poolingDesc, xDesc, yDesc);
    DeviceCall call("cudnnPoolingForward", stream_of(handle));
    const double a = scalar(call.function(), "alpha", alpha, p.x),
                 b = scalar(call.function(), "beta", beta, p.x);
    const Array from = array("x", x, p.x), to = array("y", y, p.y);
    call.reads(from);
    call.writes(to);
    run(call, [=] {
      for_each_window(p, [&](std::size_t o, const std::vector<std::size_t>& window) {
        blend(to, o, a, p.options.is_max() ? maximum(p, window, from) : average(p, window, from), b);
      });
    });
  });
}

cudnnStatus_t cudnnPoolingBackward(cudnnHandle_t handle, const cudnnPoolingDescriptor_t poolingDesc,
                                   const void* alpha, const cudnnTensorDescriptor_t yDesc, const void* y,
                                   const cudnnTensorDescriptor_t dyDesc, const void* dy,
                                   const cudnnTensorDescriptor_t xDesc, const void* x, const void* beta,
                                   const cudnnTensorDescriptor_t dxDesc, void* dx) {
  return return_status("cudnnPoolingBackward", [&] {
    const Pooling p = checked(poolingDesc, xDesc, yDesc);
    require(shape_of(dyDesc, "dyDesc") == p.y, "yDesc and dyDesc differ");
    require(shape_of(dxDesc, "dxDesc") == p.x, "xDesc and dxDesc differ");
    DeviceCall call("cudnnPoolingBackward", stream_of(handle));
    const double a = scalar(call.function(), "alpha", alpha, p.x),
                 b = scalar(call.function(), "beta", beta, p.x);
    const Array input = array("x", x, p.x), output = array("y", y, p.y), grad = array("dy", dy, p.y);
    const Array to = array("dx", dx, p.x);
    for (const Array& array : {input, output, grad}) call.reads(array);
    call.writes(to);
    run(call, [=] {
      std::vector<double> values = gradient(p, input, output, grad);
      // Its sums have no fixed order.
      if (p.options.mode == CUDNN_POOLING_MAX) perturb(values);
      blend(to, a, values, b);
    });
  });
}
