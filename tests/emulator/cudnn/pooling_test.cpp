// SPDX-License-Identifier: MIT
#include <limits>

#include "approx.h"
#include "catch.h"
#include "standin.h"

// The stand-in's pooling: maxima and averages over windows.

namespace {

struct PoolingDescriptor {
  cudnnPoolingDescriptor_t descriptor = nullptr;
  PoolingDescriptor(cudnnPoolingMode_t mode, cudnnNanPropagation_t nan, int window, int pad, int stride) {
    check(cudnn().cudnnCreatePoolingDescriptor(&descriptor));
    // Of a width other than the height, everywhere.
    check(cudnn().cudnnSetPooling2dDescriptor(descriptor, mode, nan, window, window + 1, pad, pad + 1, stride,
                                              stride + 1));
  }
  ~PoolingDescriptor() { static_cast<void>(cudnn().cudnnDestroyPoolingDescriptor(descriptor)); }
  PoolingDescriptor(const PoolingDescriptor&) = delete;
  PoolingDescriptor& operator=(const PoolingDescriptor&) = delete;
};

const Dims x_dims{2, 2, 5, 6}, y_dims{2, 2, 3, 3};
constexpr int window_h = 2, window_w = 3, pad_h = 1, pad_w = 2, stride_h = 2, stride_w = 3;

struct Case {
  Handle handle;
  PoolingDescriptor pooling;
  Tensor x_desc{x_dims, CUDNN_DATA_DOUBLE}, y_desc{y_dims, CUDNN_DATA_DOUBLE};
  double alpha = 1, beta = 0;
  device::Array<double> x{x_dims.size()}, y{y_dims.size()}, dx{x_dims.size()}, dy{y_dims.size()};

  explicit Case(cudnnPoolingMode_t mode, cudnnNanPropagation_t nan = CUDNN_PROPAGATE_NAN)
      : pooling(mode, nan, window_h, pad_h, stride_h) {}

  std::vector<double> forward(const std::vector<double>& input) {
    device::upload(x.data(), input.data(), input.size() * sizeof(double));
    check(cudnn().cudnnPoolingForward(handle.handle, pooling.descriptor, &alpha, x_desc.descriptor, x.data(),
                                      &beta, y_desc.descriptor, y.data()));
    return y.values();
  }
  std::vector<double> backward(const std::vector<double>& grad) {
    device::upload(dy.data(), grad.data(), grad.size() * sizeof(double));
    check(cudnn().cudnnPoolingBackward(handle.handle, pooling.descriptor, &alpha, y_desc.descriptor, y.data(),
                                       y_desc.descriptor, dy.data(), x_desc.descriptor, x.data(), &beta,
                                       x_desc.descriptor, dx.data()));
    return dx.values();
  }
};

/// Calls visit(output, input) for each pair of which the one's window covers the other.
template <class Visit>
void for_each_pair(Visit visit) {
  for (int n = 0; n < x_dims.n; ++n)
    for (int c = 0; c < x_dims.c; ++c)
      for (int oy = 0; oy < y_dims.h; ++oy)
        for (int ox = 0; ox < y_dims.w; ++ox)
          for (int y = 0; y < x_dims.h; ++y)
            for (int x = 0; x < x_dims.w; ++x) {
              const int dy = y - (oy * stride_h - pad_h), dx = x - (ox * stride_w - pad_w);
              if (dy >= 0 && dy < window_h && dx >= 0 && dx < window_w)
                visit(y_dims.index(n, c, oy, ox), x_dims.index(n, c, y, x));
            }
}

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("pooling takes the largest of a window") {
  Case c(GENERATE(CUDNN_POOLING_MAX, CUDNN_POOLING_MAX_DETERMINISTIC));
  const std::vector<double> x = values<double>(x_dims.size(), 1);
  std::vector<double> expected(y_dims.size(), -infinity);
  for_each_pair([&](std::size_t o, std::size_t i) { expected[o] = std::max(expected[o], x[i]); });
  CHECK(c.forward(x) == expected);
}

TEST_CASE("pooling averages a window, with the padding or without") {
  const auto mode =
      GENERATE(CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING, CUDNN_POOLING_AVERAGE_COUNT_EXCLUDE_PADDING);
  Case c(mode);
  const std::vector<double> x = values<double>(x_dims.size(), 1), dy = values<double>(y_dims.size(), 2);
  std::vector<double> counts(y_dims.size()), expected(y_dims.size()), gradient(x_dims.size());
  for_each_pair([&](std::size_t o, std::size_t) { ++counts[o]; });
  if (mode == CUDNN_POOLING_AVERAGE_COUNT_INCLUDE_PADDING) counts.assign(counts.size(), 6);
  for_each_pair([&](std::size_t o, std::size_t i) {
    expected[o] += x[i] / counts[o];
    gradient[i] += dy[o] / counts[o];
  });
  check_close(expected, c.forward(x));
  check_close(gradient, c.backward(dy));
  SECTION("alpha and beta") {
    c.alpha = 2;
    c.beta = 3;
    for (double& value : expected) value *= 5;
    for (double& value : gradient) value *= 5;
    check_close(expected, c.forward(x));
    check_close(gradient, c.backward(dy));
  }
}

TEST_CASE("the gradient of a maximum goes to the last of equal ones") {
  Case c(CUDNN_POOLING_MAX_DETERMINISTIC);
  const std::vector<double> x(x_dims.size(), 0), dy = values<double>(y_dims.size(), 2);
  std::vector<std::size_t> last(y_dims.size());
  for_each_pair([&](std::size_t o, std::size_t i) { last[o] = i; });
  std::vector<double> expected(x_dims.size());
  for (std::size_t o = 0; o < last.size(); ++o) expected[last[o]] += dy[o];
  c.forward(x);
  check_close(expected, c.backward(dy));
}

TEST_CASE("the gradient of CUDNN_POOLING_MAX differs from run to run") {
  Case c(CUDNN_POOLING_MAX);
  c.forward(values<double>(x_dims.size(), 1));
  const std::vector<double> dy(y_dims.size(), 1), first = c.backward(dy), second = c.backward(dy);
  double largest = 0;
  for (std::size_t i = 0; i < first.size(); ++i) largest = std::max(largest, std::abs(first[i] - second[i]));
  CHECK(largest > 1e-3);
}

TEST_CASE("a maximum propagates NaN where the descriptor says so") {
  std::vector<double> x = values<double>(x_dims.size(), 1);
  x[x_dims.index(0, 0, 2, 2)] = not_a_number;
  const bool propagates = GENERATE(true, false);
  Case c(CUDNN_POOLING_MAX_DETERMINISTIC, propagates ? CUDNN_PROPAGATE_NAN : CUDNN_NOT_PROPAGATE_NAN);
  const std::vector<double> y = c.forward(x);
  for_each_pair([&](std::size_t o, std::size_t i) {
    if (i == x_dims.index(0, 0, 2, 2)) CHECK(std::isnan(y[o]) == propagates);
  });
  const std::vector<double> dx = c.backward(std::vector<double>(y_dims.size(), 1));
  CHECK((dx[x_dims.index(0, 0, 2, 2)] > 0) == propagates);
}

TEST_CASE("pooling descriptors refuse what cuDNN refuses") {
  cudnnPoolingDescriptor_t descriptor = nullptr;
  check(cudnn().cudnnCreatePoolingDescriptor(&descriptor));
  const Tensor x({2, 4, 5, 5});
  int n = 0, c = 0, h = 0, w = 0;
  const auto dims = [&] {
    return cudnn().cudnnGetPooling2dForwardOutputDim(descriptor, x.descriptor, &n, &c, &h, &w);
  };
  const auto set = [&](int mode, int window, int pad, int stride) {
    return cudnn().cudnnSetPooling2dDescriptor(descriptor, static_cast<cudnnPoolingMode_t>(mode),
                                               CUDNN_PROPAGATE_NAN, 2, window, 1, pad, 2, stride);
  };
  CHECK(dims() == CUDNN_STATUS_BAD_PARAM);  // not set
  CHECK(set(8, 2, 1, 2) == CUDNN_STATUS_BAD_PARAM);
  CHECK(set(0, 0, 1, 2) == CUDNN_STATUS_BAD_PARAM);
  CHECK(set(0, 2, 1, 0) == CUDNN_STATUS_BAD_PARAM);
  CHECK(set(0, 9, 1, 2) == CUDNN_STATUS_SUCCESS);
  CHECK(dims() == CUDNN_STATUS_BAD_PARAM);
  CHECK(set(0, 3, 1, 3) == CUDNN_STATUS_SUCCESS);
  CHECK(dims() == CUDNN_STATUS_SUCCESS);
  CHECK(std::vector{n, c, h, w} == std::vector{2, 4, 3, 2});
  CHECK(cudnn().cudnnDestroyPoolingDescriptor(descriptor) == CUDNN_STATUS_SUCCESS);
  CHECK(dims() == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("pooling refuses what does not fit") {
  const Handle handle;
  const Tensor x({2, 2, 5, 6}), y({2, 2, 3, 3});
  const device::Array<float> in(std::vector<float>(x_dims.size())), out(y_dims.size());
  const float one = 1, zero = 0;
  const auto forward = [&](const PoolingDescriptor& pooling, const Tensor& x, const Tensor& y) {
    return cudnn().cudnnPoolingForward(handle.handle, pooling.descriptor, &one, x.descriptor, in.data(),
                                       &zero, y.descriptor, out.data());
  };
  const PoolingDescriptor pooling(CUDNN_POOLING_MAX, CUDNN_PROPAGATE_NAN, 2, 1, 2);
  CHECK(forward(pooling, x, y) == CUDNN_STATUS_SUCCESS);
  CHECK(forward(pooling, x, Tensor({2, 2, 4, 3})) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(pooling, x, Tensor({2, 2, 3, 4})) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(pooling, x, Tensor({1, 2, 3, 3})) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(pooling, x, Tensor({2, 1, 3, 3})) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(pooling, x, Tensor({2, 2, 3, 3}, CUDNN_DATA_DOUBLE)) == CUDNN_STATUS_BAD_PARAM);
  const PoolingDescriptor outside(CUDNN_POOLING_MAX, CUDNN_PROPAGATE_NAN, 2, 2, 8);
  CHECK(forward(outside, x, Tensor({2, 2, 1, 2})) == CUDNN_STATUS_NOT_SUPPORTED);
}
