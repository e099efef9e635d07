// SPDX-License-Identifier: MIT
#include "approx.h"
#include "catch.h"
#include "standin.h"

// Descriptors and handles of the stand-in, softmax, sums, and how its work is queued.

namespace {

const Dims dims{2, 3, 2, 4};

struct Softmax {
  Softmax(cudnnSoftmaxAlgorithm_t algorithm, cudnnSoftmaxMode_t mode) : algorithm(algorithm), mode(mode) {}

  Handle handle;
  Tensor desc{dims, CUDNN_DATA_DOUBLE};
  cudnnSoftmaxAlgorithm_t algorithm;
  cudnnSoftmaxMode_t mode;
  double alpha = 1, beta = 0;
  device::Array<double> x{values<double>(dims.size(), 1)}, dy{values<double>(dims.size(), 2)};
  device::Array<double> y{dims.size()}, dx{dims.size()};

  std::vector<double> forward() const {
    check(cudnn().cudnnSoftmaxForward(handle.handle, algorithm, mode, &alpha, desc.descriptor, x.data(),
                                      &beta, desc.descriptor, y.data()));
    return y.values();
  }
  std::vector<double> backward() const {
    check(cudnn().cudnnSoftmaxBackward(handle.handle, algorithm, mode, &alpha, desc.descriptor, y.data(),
                                       desc.descriptor, dy.data(), &beta, desc.descriptor, dx.data()));
    return dx.values();
  }
};

/// By the definition, without any care for overflow.
std::vector<double> softmax(const std::vector<double>& x, cudnnSoftmaxMode_t mode, bool log) {
  std::vector<double> y(x.size());
  const auto same_group = [&](std::size_t a, std::size_t b) {
    if (a / 24 != b / 24) return false;
    return mode == CUDNN_SOFTMAX_MODE_INSTANCE || a % 8 == b % 8;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < x.size(); ++j)
      if (same_group(i, j)) sum += std::exp(x[j]);
    y[i] = log ? x[i] - std::log(sum) : std::exp(x[i]) / sum;
  }
  return y;
}

}  // namespace

TEST_CASE("softmax, its logarithm, and their gradients") {
  Softmax s(GENERATE(CUDNN_SOFTMAX_LOG, CUDNN_SOFTMAX_ACCURATE),
            GENERATE(CUDNN_SOFTMAX_MODE_INSTANCE, CUDNN_SOFTMAX_MODE_CHANNEL));
  const bool log = s.algorithm == CUDNN_SOFTMAX_LOG;
  const std::vector<double> x = s.x.values(), dy = s.dy.values();
  std::vector<double> expected = softmax(x, s.mode, log);
  check_close(expected, s.forward());
  const std::vector<double> dx = s.backward();
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto loss = [&](double step) {
      std::vector<double> moved = x;
      moved[i] += step;
      const std::vector<double> y = softmax(moved, s.mode, log);
      double sum = 0;
      for (std::size_t j = 0; j < y.size(); ++j) sum += y[j] * dy[j];
      return sum;
    };
    CHECK(std::abs(dx[i] - (loss(1e-4) - loss(-1e-4)) / 2e-4) < 1e-7);
  }
  SECTION("alpha and beta") {
    s.alpha = 2;
    s.beta = 3;
    std::vector<double> gradient;
    for (const double value : dx) gradient.push_back(5 * value);
    check_close(gradient, s.backward());
    for (double& value : expected) value *= 5;
    check_close(expected, s.forward());
  }
}

TEST_CASE("softmax of large values does not overflow") {
  const Softmax s(CUDNN_SOFTMAX_LOG, CUDNN_SOFTMAX_MODE_CHANNEL);
  const std::vector<double> large(dims.size(), 1e4);
  device::upload(s.x.data(), large.data(), large.size() * sizeof(double));
  check_close(std::vector<double>(dims.size(), -std::log(3)), s.forward());
}

TEST_CASE("softmax works in place, and refuses what does not fit") {
  const Softmax s(CUDNN_SOFTMAX_LOG, CUDNN_SOFTMAX_MODE_CHANNEL);
  const Tensor other({2, 3, 4, 2}, CUDNN_DATA_DOUBLE), single(dims);
  const std::vector<double> y = s.forward();
  const auto forward = [&](int algorithm, int mode, const Tensor& out) {
    return cudnn().cudnnSoftmaxForward(s.handle.handle, static_cast<cudnnSoftmaxAlgorithm_t>(algorithm),
                                       static_cast<cudnnSoftmaxMode_t>(mode), &s.alpha, s.desc.descriptor,
                                       s.x.data(), &s.beta, out.descriptor, s.x.data());
  };
  CHECK(forward(2, 1, other) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(2, 1, single) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(3, 1, s.desc) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(2, 2, s.desc) == CUDNN_STATUS_BAD_PARAM);
  CHECK(forward(0, 1, s.desc) == CUDNN_STATUS_NOT_SUPPORTED);
  check(forward(2, 1, s.desc));
  CHECK(s.x.values() == y);
}

TEST_CASE("a tensor is added along the dimensions where it has one element") {
  const Handle handle;
  const auto a_dims = GENERATE(Dims{1, 3, 1, 1}, Dims{2, 1, 1, 4}, Dims{1, 1, 2, 1}, dims);
  const Tensor a_desc(a_dims), c_desc(dims);
  const std::vector<float> a = values<float>(a_dims.size(), 1), c = values<float>(dims.size(), 2);
  const device::Array<float> a_array(a), c_array(c);
  const float alpha = 2, beta = 3;
  check(cudnn().cudnnAddTensor(handle.handle, &alpha, a_desc.descriptor, a_array.data(), &beta,
                               c_desc.descriptor, c_array.data()));
  std::vector<double> expected(c.size());
  for (int n = 0; n < dims.n; ++n)
    for (int k = 0; k < dims.c; ++k)
      for (int y = 0; y < dims.h; ++y)
        for (int x = 0; x < dims.w; ++x) {
          const std::size_t from = a_dims.index(n % a_dims.n, k % a_dims.c, y % a_dims.h, x % a_dims.w);
          expected[dims.index(n, k, y, x)] = 2 * a[from] + 3 * c[dims.index(n, k, y, x)];
        }
  check_close(expected, c_array.values());
  for (const Dims& wrong : {Dims{1, 2, 1, 1}, Dims{3, 3, 2, 4}, Dims{2, 3, 3, 4}, Dims{2, 3, 2, 2}})
    CHECK(cudnn().cudnnAddTensor(handle.handle, &alpha, Tensor(wrong).descriptor, a_array.data(), &beta,
                                 c_desc.descriptor, c_array.data()) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnn().cudnnAddTensor(handle.handle, &alpha, Tensor(a_dims, CUDNN_DATA_DOUBLE).descriptor,
                               a_array.data(), &beta, c_desc.descriptor,
                               c_array.data()) == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("descriptors of tensors and filters refuse what cuDNN refuses") {
  const auto bad = CUDNN_STATUS_BAD_PARAM, unsupported = CUDNN_STATUS_NOT_SUPPORTED;
  cudnnTensorDescriptor_t tensor = nullptr;
  cudnnFilterDescriptor_t filter = nullptr;
  check(cudnn().cudnnCreateTensorDescriptor(&tensor));
  check(cudnn().cudnnCreateFilterDescriptor(&filter));
  const auto set = [&](int format, int type, int n, int w) {
    const auto f = static_cast<cudnnTensorFormat_t>(format);
    const auto t = static_cast<cudnnDataType_t>(type);
    const cudnnStatus_t status = cudnn().cudnnSetTensor4dDescriptor(tensor, f, t, n, 1, 1, w);
    CHECK(cudnn().cudnnSetFilter4dDescriptor(filter, t, f, n, 1, 1, w) == status);
    return status;
  };
  CHECK(set(0, 0, 1, 1) == CUDNN_STATUS_SUCCESS);
  CHECK(set(0, 0, 0, 1) == bad);
  CHECK(set(0, 0, 1, -1) == bad);
  CHECK(set(9, 0, 1, 1) == bad);
  CHECK(set(0, 99, 1, 1) == bad);
  CHECK(set(0, 0, 65536, 65536) == unsupported);
  CHECK(set(0, 0, 32768, 65535) == CUDNN_STATUS_SUCCESS);
  CHECK(cudnn().cudnnCreateTensorDescriptor(nullptr) == bad);
  CHECK(cudnn().cudnnDestroyTensorDescriptor(nullptr) == CUDNN_STATUS_SUCCESS);
  CHECK(cudnn().cudnnDestroyFilterDescriptor(nullptr) == CUDNN_STATUS_SUCCESS);
  CHECK(cudnn().cudnnDestroyTensorDescriptor(tensor) == CUDNN_STATUS_SUCCESS);
  CHECK(cudnn().cudnnDestroyFilterDescriptor(filter) == CUDNN_STATUS_SUCCESS);
  // A newer one does not take its place.
  const Tensor newer(dims);
  CHECK(set(0, 0, 1, 1) == bad);
  CHECK(cudnn().cudnnDestroyTensorDescriptor(tensor) == bad);
}

TEST_CASE("null pointers, unset descriptors and wrong handles are refused") {
  cudnnTensorDescriptor_t unset = nullptr;
  check(cudnn().cudnnCreateTensorDescriptor(&unset));
  cudnnHandle_t destroyed = nullptr;
  check(cudnn().cudnnCreate(&destroyed));
  check(cudnn().cudnnDestroy(destroyed));
  const Handle handle;
  const Tensor desc(dims);
  const device::Array<float> x(values<float>(dims.size(), 1)), y(dims.size());
  const float one = 1, zero = 0;
  struct Arguments {
    cudnnHandle_t handle;
    const void* alpha;
    cudnnTensorDescriptor_t x_desc;
    const void* x;
    const void* beta;
    cudnnTensorDescriptor_t y_desc;
    void* y;
  };
  const Arguments good{handle.handle, &one, desc.descriptor, x.data(), &zero, desc.descriptor, y.data()};
  const auto add = [&](auto change) {
    Arguments a = good;
    change(a);
    return cudnn().cudnnAddTensor(a.handle, a.alpha, a.x_desc, a.x, a.beta, a.y_desc, a.y);
  };
  CHECK(add([](Arguments&) {}) == CUDNN_STATUS_SUCCESS);
  CHECK(add([](Arguments& a) { a.handle = nullptr; }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(add([&](Arguments& a) { a.handle = destroyed; }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(add([](Arguments& a) { a.alpha = nullptr; }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(add([](Arguments& a) { a.beta = nullptr; }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(add([](Arguments& a) { a.x = nullptr; }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(add([](Arguments& a) { a.y = nullptr; }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(add([](Arguments& a) { a.x_desc = nullptr; }) == CUDNN_STATUS_BAD_PARAM);
  CHECK(add([&](Arguments& a) { a.y_desc = unset; }) == CUDNN_STATUS_BAD_PARAM);
  char reason[64] = "";
  cudnn().cudnnGetLastErrorString(reason, sizeof reason);
  CHECK(std::string(reason) == "cudnnAddTensor: cDesc has not been set");
  CHECK(cudnn().cudnnSetStream(nullptr, nullptr) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnn().cudnnDestroy(nullptr) == CUDNN_STATUS_SUCCESS);
  CHECK(cudnn().cudnnDestroy(destroyed) == CUDNN_STATUS_BAD_PARAM);
  CHECK(std::string(cudnn().cudnnGetErrorString(CUDNN_STATUS_BAD_PARAM)) == "CUDNN_STATUS_BAD_PARAM");
  check(cudnn().cudnnDestroyTensorDescriptor(unset));
}

TEST_CASE("work is queued with its stream, and scalars are read at the call") {
  const Handle handle;
  const Tensor desc({1, 1, 1, 1});
  const device::Array<float> x(std::vector<float>{3}), y(std::vector<float>{10});
  float alpha = 2, beta = 1;
  const auto add = [&] {
    check(cudnn().cudnnAddTensor(handle.handle, &alpha, desc.descriptor, x.data(), &beta, desc.descriptor,
                                 y.data()));
  };
  SECTION("once") {
    add();
    alpha = beta = 100;
    CHECK(y.values() == std::vector<float>{16});
  }
  SECTION("for every replay of a capture") {
    device::begin_capture(handle.stream);
    add();
    alpha = beta = 100;
    const device::Graph graph(handle.stream);
    CHECK(y.values() == std::vector<float>{10});
    graph.replay(handle.stream);
    graph.replay(handle.stream);
    CHECK(y.values() == std::vector<float>{22});
  }
  SECTION("which may allocate what it works on") {
    device::begin_capture(handle.stream);
    void* const memory = device::allocate_on(handle.stream, sizeof(float));
    const float zero = 0;
    check(cudnn().cudnnAddTensor(handle.handle, &alpha, desc.descriptor, x.data(), &zero, desc.descriptor,
                                 memory));
    check(cudnn().cudnnAddTensor(handle.handle, &alpha, desc.descriptor, memory, &beta, desc.descriptor,
                                 y.data()));
    device::release_on(handle.stream, memory);
    const device::Graph graph(handle.stream);
    graph.replay(handle.stream);
    graph.replay(handle.stream);
    CHECK(y.values() == std::vector<float>{34});
  }
}

TEST_CASE("memory that a queued replay allocates can be worked on behind it") {
  const Handle handle;
  const Tensor desc({1, 1, 1, 1});
  const device::Array<float> x(std::vector<float>{3}), y(std::vector<float>{10});
  const float one = 1, zero = 0;
  const auto copy = [&](const void* from, void* to) {
    check(cudnn().cudnnAddTensor(handle.handle, &one, desc.descriptor, from, &zero, desc.descriptor, to));
  };
  device::begin_capture(handle.stream);
  void* const memory = device::allocate_on(handle.stream, sizeof(float));
  copy(x.data(), memory);
  const device::Graph graph(handle.stream);
  for (int i = 0; i < 2; ++i) {
    // At the second time the memory has been freed when copy() is called.
    graph.replay(handle.stream);
    copy(memory, y.data());
    device::release_on(handle.stream, memory);
    CHECK(y.values() == std::vector<float>{3});
  }
}

TEST_CASE("the versions are those of the headers") {
  CHECK(cudnn().cudnnGetVersion() == CUDNN_VERSION);
  int major = 0, minor = 0, patch = 0;
  check(cublas().cublasGetProperty(MAJOR_VERSION, &major));
  check(cublas().cublasGetProperty(MINOR_VERSION, &minor));
  check(cublas().cublasGetProperty(PATCH_LEVEL, &patch));
  CHECK(major * 10000 + minor * 100 + patch == CUBLAS_VERSION);
}
