// SPDX-License-Identifier: MIT
#include <cstdint>
#include <cstring>
#include <utility>

#include "approx.h"
#include "catch.h"
#include "standin.h"

// The stand-in's convolution: its formulas, its algorithms, and what it refuses.

namespace {

struct Problem {
  Dims x, w, y;
  ConvolutionOptions options;
};

const Problem plain{{2, 3, 5, 4}, {4, 3, 3, 2}, {2, 4, 3, 3}, {}};
const Problem strided{
    {2, 4, 7, 6},
    {6, 2, 3, 2},
    {2, 6, 4, 2},
    {.pad_h = 2, .pad_w = 1, .stride_h = 2, .stride_w = 3, .dilation_h = 2, .dilation_w = 3, .groups = 2}};

/// A problem's arrays and descriptors on the device.
template <class T>
struct Case {
  explicit Case(const Problem& problem)
      : problem(problem),
        x_desc(problem.x, type_of<T>),
        y_desc(problem.y, type_of<T>),
        w_desc(problem.w, type_of<T>),
        convolution(problem.options, type_of<T>) {}

  std::size_t forward_bytes(cudnnConvolutionFwdAlgo_t algorithm) const {
    std::size_t bytes = 0;
    check(cudnn().cudnnGetConvolutionForwardWorkspaceSize(handle.handle, x_desc.descriptor, w_desc.descriptor,
                                                          convolution.descriptor, y_desc.descriptor,
                                                          algorithm, &bytes));
    return bytes;
  }
  cudnnStatus_t forward(cudnnConvolutionFwdAlgo_t algorithm, void* workspace, std::size_t bytes) const {
    return cudnn().cudnnConvolutionForward(handle.handle, &alpha, x_desc.descriptor, x.data(),
                                           w_desc.descriptor, w.data(), convolution.descriptor, algorithm,
                                           workspace, bytes, &beta, y_desc.descriptor, y.data());
  }
  std::vector<T> forward(cudnnConvolutionFwdAlgo_t algorithm) const {
    const std::size_t bytes = forward_bytes(algorithm);
    const device::Array<char> workspace(bytes > 0 ? bytes : 1);
    check(forward(algorithm, workspace.data(), bytes));
    return y.values();
  }
  std::vector<T> backward_data(cudnnConvolutionBwdDataAlgo_t algorithm) const {
    std::size_t bytes = 0;
    check(cudnn().cudnnGetConvolutionBackwardDataWorkspaceSize(handle.handle, w_desc.descriptor,
                                                               y_desc.descriptor, convolution.descriptor,
                                                               x_desc.descriptor, algorithm, &bytes));
    const device::Array<char> workspace(bytes);
    check(cudnn().cudnnConvolutionBackwardData(handle.handle, &alpha, w_desc.descriptor, w.data(),
                                               y_desc.descriptor, y.data(), convolution.descriptor, algorithm,
                                               workspace.data(), bytes, &beta, x_desc.descriptor, x.data()));
    return x.values();
  }
  std::vector<T> backward_filter(cudnnConvolutionBwdFilterAlgo_t algorithm) const {
    std::size_t bytes = 0;
    check(cudnn().cudnnGetConvolutionBackwardFilterWorkspaceSize(handle.handle, x_desc.descriptor,
                                                                 y_desc.descriptor, convolution.descriptor,
                                                                 w_desc.descriptor, algorithm, &bytes));
    const device::Array<char> workspace(bytes);
    check(cudnn().cudnnConvolutionBackwardFilter(
        handle.handle, &alpha, x_desc.descriptor, x.data(), y_desc.descriptor, y.data(),
        convolution.descriptor, algorithm, workspace.data(), bytes, &beta, w_desc.descriptor, w.data()));
    return w.values();
  }

  Problem problem;
  Handle handle;
  Tensor x_desc, y_desc;
  Filter w_desc;
  ConvolutionDescriptor convolution;
  T alpha = 1, beta = 0;
  device::Array<T> x{values<T>(problem.x.size(), 1)}, w{values<T>(problem.w.size(), 2)};
  device::Array<T> y{values<T>(problem.y.size(), 3)};
};

/// By the definition, from a padded copy of the input.
template <class T>
std::vector<double> expected_forward(const Problem& p, const std::vector<T>& x, const std::vector<T>& w) {
  const ConvolutionOptions& o = p.options;
  const Dims padded{p.x.n, p.x.c, p.x.h + 2 * o.pad_h, p.x.w + 2 * o.pad_w};
  std::vector<double> input(padded.size()), output(p.y.size());
  for (int n = 0; n < p.x.n; ++n)
    for (int c = 0; c < p.x.c; ++c)
      for (int i = 0; i < p.x.h; ++i)
        for (int j = 0; j < p.x.w; ++j)
          input[padded.index(n, c, i + o.pad_h, j + o.pad_w)] = x[p.x.index(n, c, i, j)];
  for (int n = 0; n < p.y.n; ++n)
    for (int k = 0; k < p.y.c; ++k)
      for (int i = 0; i < p.y.h; ++i)
        for (int j = 0; j < p.y.w; ++j)
          for (int c = 0; c < p.w.c; ++c)
            for (int r = 0; r < p.w.h; ++r)
              for (int s = 0; s < p.w.w; ++s) {
                const int group = k * o.groups / p.w.n;
                const bool flip = o.mode == CUDNN_CONVOLUTION;
                output[p.y.index(n, k, i, j)] +=
                    input[padded.index(n, group * p.w.c + c, i * o.stride_h + r * o.dilation_h,
                                       j * o.stride_w + s * o.dilation_w)] *
                    w[p.w.index(k, c, flip ? p.w.h - 1 - r : r, flip ? p.w.w - 1 - s : s)];
              }
  return output;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

constexpr auto forward_algorithm = CUDNN_CONVOLUTION_FWD_ALGO_GEMM;

}  // namespace

TEMPLATE_TEST_CASE("convolution forward is what its definition says", "", float, double) {
  auto problem = GENERATE(plain, strided);
  problem.options.mode = GENERATE(CUDNN_CROSS_CORRELATION, CUDNN_CONVOLUTION);
  Case<TestType> c(problem);
  const std::vector<TestType> x = c.x.values(), w = c.w.values(), y = c.y.values();
  const std::vector<double> expected = expected_forward(problem, x, w);
  check_close(expected, c.forward(forward_algorithm));

  SECTION("alpha and beta") {
    const device::Array<TestType> old(y);
    device::upload(c.y.data(), y.data(), y.size() * sizeof(TestType));
    c.alpha = 2;
    c.beta = -3;
    std::vector<double> blended(y.size());
    for (std::size_t i = 0; i < y.size(); ++i) blended[i] = 2 * expected[i] - 3 * y[i];
    check_close(blended, c.forward(forward_algorithm));
  }
  SECTION("nothing is read that is multiplied by beta = 0") {
    const std::vector<TestType> nan(y.size(), std::numeric_limits<TestType>::quiet_NaN());
    device::upload(c.y.data(), nan.data(), y.size() * sizeof(TestType));
    check_close(expected, c.forward(forward_algorithm));
  }
}

TEST_CASE("the gradients of a convolution are its adjoints") {
  const auto problem = GENERATE(plain, strided);
  const Case<double> c(problem);
  const std::vector<double> x = c.x.values(), w = c.w.values(), dy = c.y.values();
  const std::vector<double> y = expected_forward(problem, x, w);
  SECTION("data") {
    const std::vector<double> dx = c.backward_data(CUDNN_CONVOLUTION_BWD_DATA_ALGO_1);
    check_close({dot(dy, y)}, std::vector{dot(dx, x)});
    // A direction of its own for each element.
    const std::vector<double> other = values<double>(x.size(), 7);
    check_close({dot(dy, expected_forward(problem, other, w))}, std::vector{dot(dx, other)});
  }
  SECTION("filter") {
    const std::vector<double> dw = c.backward_filter(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1);
    check_close({dot(dy, y)}, std::vector{dot(dw, w)});
    const std::vector<double> other = values<double>(w.size(), 7);
    check_close({dot(dy, expected_forward(problem, x, other))}, std::vector{dot(dw, other)});
  }
}

TEST_CASE("an algorithm that is not deterministic gives other results in each run") {
  const Case<float> c(plain);
  const auto differ = [](const std::vector<float>& a, const std::vector<float>& b) {
    return std::abs(a.front() - b.front()) > 1e-3f * std::abs(a.front());
  };
  const std::vector<float> y = c.y.values(), x = c.x.values(), w = c.w.values();
  SECTION("forward") {
    CHECK(differ(c.forward(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED),
                 c.forward(CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED)));
    CHECK(c.forward(forward_algorithm) == c.forward(forward_algorithm));
  }
  SECTION("data") {
    CHECK(differ(c.backward_data(CUDNN_CONVOLUTION_BWD_DATA_ALGO_0),
                 c.backward_data(CUDNN_CONVOLUTION_BWD_DATA_ALGO_0)));
    CHECK(c.backward_data(CUDNN_CONVOLUTION_BWD_DATA_ALGO_1) ==
          c.backward_data(CUDNN_CONVOLUTION_BWD_DATA_ALGO_1));
  }
  SECTION("filter") {
    const auto algorithm = GENERATE(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3);
    CHECK(differ(c.backward_filter(algorithm), c.backward_filter(algorithm)));
    CHECK(c.backward_filter(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1) ==
          c.backward_filter(CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1));
  }
}

TEST_CASE("all math but FMA rounds float operands to TF32") {
  Problem rounded = plain;
  rounded.options.math =
      GENERATE(CUDNN_DEFAULT_MATH, CUDNN_TENSOR_OP_MATH, CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION);
  const auto error = [&](auto type) {
    using T = decltype(type);
    const Case<T> c(rounded);
    const std::vector<double> expected = expected_forward(rounded, c.x.values(), c.w.values());
    const std::vector<T> y = c.forward(forward_algorithm);
    double largest = 0;
    for (std::size_t i = 0; i < y.size(); ++i) largest = std::max(largest, std::abs(y[i] - expected[i]));
    return largest;
  };
  CHECK(error(0.0f) > 1e-4);
  CHECK(error(0.0f) < 18 * 2 * std::ldexp(1.0, -11));
  CHECK(error(0.0) < 1e-14);
}

TEST_CASE("operands are rounded to the nearest of TF32, of 10 bits") {
  Problem one{{1, 1, 1, 1}, {1, 1, 1, 1}, {1, 1, 1, 1}, {.math = CUDNN_DEFAULT_MATH}};
  const Case<float> c(one);
  const float unit = 1;
  device::upload(c.w.data(), &unit, sizeof unit);
  for (const auto& [value, expected] :
       {std::pair(1 + 0x1p-10f, 1 + 0x1p-10f), std::pair(1 + 0x1.1p-11f, 1 + 0x1p-10f),
        std::pair(1 + 0x0.fp-11f, 1.0f), std::pair(-1 - 0x1.1p-11f, -1 - 0x1p-10f)}) {
    device::upload(c.x.data(), &value, sizeof value);
    CHECK(c.forward(forward_algorithm).front() == expected);
  }
}

TEST_CASE("the lists of algorithms begin with what a careful program must not take") {
  Problem problem = plain;
  problem.options.math = GENERATE(CUDNN_FMA_MATH, CUDNN_DEFAULT_MATH);
  const Case<float> c(problem);
  const auto check_list = [&](const auto& list, int returned, auto size_of) {
    int tensor_ops = 0, usable = 0;
    CHECK(list[0].determinism == CUDNN_NON_DETERMINISTIC);
    CHECK(list[0].status == CUDNN_STATUS_SUCCESS);
    bool unsupported = false, absurd = false;
    for (int i = 0; i < returned; ++i) {
      if (list[i].mathType != CUDNN_FMA_MATH) {
        ++tensor_ops;
      } else if (list[i].status != CUDNN_STATUS_SUCCESS) {
        CHECK(list[i].status == CUDNN_STATUS_NOT_SUPPORTED);
        unsupported = true;
      } else if (list[i].memory > std::size_t{1} << 32) {
        absurd = true;
      } else if (list[i].determinism == CUDNN_DETERMINISTIC) {
        // Whatever can be used comes behind all that cannot.
        CHECK(unsupported);
        CHECK(absurd);
        CHECK(tensor_ops == (problem.options.math == CUDNN_FMA_MATH ? 0 : 1));
        CHECK(list[i].memory == size_of(list[i].algo));
        ++usable;
      }
    }
    CHECK(usable >= 2);
  };
  int returned = 0;
  SECTION("forward") {
    cudnnConvolutionFwdAlgoPerf_t list[20];
    check(cudnn().cudnnGetConvolutionForwardAlgorithm_v7(c.handle.handle, c.x_desc.descriptor,
                                                         c.w_desc.descriptor, c.convolution.descriptor,
                                                         c.y_desc.descriptor, 20, &returned, list));
    check_list(list, returned, [&](auto algorithm) { return c.forward_bytes(algorithm); });
    check(cudnn().cudnnGetConvolutionForwardAlgorithm_v7(c.handle.handle, c.x_desc.descriptor,
                                                         c.w_desc.descriptor, c.convolution.descriptor,
                                                         c.y_desc.descriptor, 2, &returned, list));
    CHECK(returned == 2);
  }
  SECTION("data") {
    cudnnConvolutionBwdDataAlgoPerf_t list[20];
    check(cudnn().cudnnGetConvolutionBackwardDataAlgorithm_v7(c.handle.handle, c.w_desc.descriptor,
                                                              c.y_desc.descriptor, c.convolution.descriptor,
                                                              c.x_desc.descriptor, 20, &returned, list));
    check_list(list, returned, [&](auto algorithm) {
      std::size_t bytes = 0;
      check(cudnn().cudnnGetConvolutionBackwardDataWorkspaceSize(
          c.handle.handle, c.w_desc.descriptor, c.y_desc.descriptor, c.convolution.descriptor,
          c.x_desc.descriptor, algorithm, &bytes));
      return bytes;
    });
  }
  SECTION("filter") {
    cudnnConvolutionBwdFilterAlgoPerf_t list[20];
    check(cudnn().cudnnGetConvolutionBackwardFilterAlgorithm_v7(c.handle.handle, c.x_desc.descriptor,
                                                                c.y_desc.descriptor, c.convolution.descriptor,
                                                                c.w_desc.descriptor, 20, &returned, list));
    check_list(list, returned, [&](auto algorithm) {
      std::size_t bytes = 0;
      check(cudnn().cudnnGetConvolutionBackwardFilterWorkspaceSize(
          c.handle.handle, c.x_desc.descriptor, c.y_desc.descriptor, c.convolution.descriptor,
          c.w_desc.descriptor, algorithm, &bytes));
      return bytes;
    });
  }
}

TEST_CASE("algorithms need workspaces of different sizes, and leave nothing in them as it was") {
  const Case<float> c(plain);
  const std::size_t bytes = c.forward_bytes(forward_algorithm);
  CHECK(bytes > 0);
  CHECK(bytes != c.forward_bytes(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM));
  const std::vector<unsigned char> before(bytes, 7);
  const device::Array<unsigned char> workspace(before);
  check(c.forward(forward_algorithm, workspace.data(), bytes));
  const std::vector<unsigned char> after = workspace.values();
  CHECK(std::count(after.begin(), after.end(), 7) == 0);
  CHECK(CUDNN_STATUS_CATEGORY(c.forward(forward_algorithm, workspace.data(), bytes - 1)) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(c.forward(forward_algorithm, nullptr, bytes) == CUDNN_STATUS_BAD_PARAM);
  CHECK(c.forward(CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, nullptr, 0) == CUDNN_STATUS_SUCCESS);
}

TEST_CASE("algorithms that do not exist or cannot do it are refused") {
  const Case<float> c(plain);
  std::size_t bytes = 0;
  const auto size_of = [&](cudnnConvolutionFwdAlgo_t algorithm) {
    return cudnn().cudnnGetConvolutionForwardWorkspaceSize(c.handle.handle, c.x_desc.descriptor,
                                                           c.w_desc.descriptor, c.convolution.descriptor,
                                                           c.y_desc.descriptor, algorithm, &bytes);
  };
  CHECK(size_of(CUDNN_CONVOLUTION_FWD_ALGO_DIRECT) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(size_of(CUDNN_CONVOLUTION_FWD_ALGO_COUNT) == CUDNN_STATUS_BAD_PARAM);
  CHECK(c.forward(CUDNN_CONVOLUTION_FWD_ALGO_DIRECT, nullptr, 0) == CUDNN_STATUS_NOT_SUPPORTED);
  CHECK(c.forward(CUDNN_CONVOLUTION_FWD_ALGO_COUNT, nullptr, 0) == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("descriptors that do not fit one another are refused") {
  const Handle handle;
  const Tensor x(plain.x), y(plain.y);
  const Filter w(plain.w);
  const ConvolutionDescriptor convolution({});
  std::size_t bytes = 0;
  const auto status = [&](const Tensor& x, const Filter& w, const ConvolutionDescriptor& convolution,
                          const Tensor& y) {
    return cudnn().cudnnGetConvolutionForwardWorkspaceSize(handle.handle, x.descriptor, w.descriptor,
                                                           convolution.descriptor, y.descriptor,
                                                           forward_algorithm, &bytes);
  };
  CHECK(status(x, w, convolution, y) == CUDNN_STATUS_SUCCESS);
  const auto bad = CUDNN_STATUS_BAD_PARAM, unsupported = CUDNN_STATUS_NOT_SUPPORTED;
  CHECK(status(Tensor({2, 4, 5, 4}), w, convolution, y) == bad);
  CHECK(status(Tensor({1, 3, 5, 4}), w, convolution, y) == bad);
  CHECK(status(Tensor({2, 3, 2, 4}), w, convolution, y) == bad);
  CHECK(status(x, Filter({4, 3, 3, 2}, CUDNN_DATA_DOUBLE), convolution, y) == bad);
  CHECK(status(x, w, convolution, Tensor({2, 5, 3, 3})) == bad);
  CHECK(status(x, w, convolution, Tensor({2, 4, 3, 4})) == unsupported);
  CHECK(status(x, w, convolution, Tensor({2, 4, 4, 3})) == unsupported);
  CHECK(status(x, w, convolution, Tensor({2, 4, 3, 3}, CUDNN_DATA_DOUBLE)) == bad);
  CHECK(status(x, w, ConvolutionDescriptor({}, CUDNN_DATA_DOUBLE), y) == unsupported);
  CHECK(status(x, w, ConvolutionDescriptor({.groups = 3}), y) == bad);
  CHECK(status(x, Filter({4, 1, 3, 2}), ConvolutionDescriptor({.groups = 3}), y) == bad);
  CHECK(status(x, Filter({6, 1, 3, 2}), ConvolutionDescriptor({.groups = 3}), Tensor({2, 6, 3, 3})) ==
        CUDNN_STATUS_SUCCESS);
}

TEST_CASE("convolution descriptors refuse what cuDNN refuses") {
  cudnnConvolutionDescriptor_t descriptor = nullptr;
  check(cudnn().cudnnCreateConvolutionDescriptor(&descriptor));
  const auto set = [&](int pad, int stride, int dilation, int mode) {
    return cudnn().cudnnSetConvolution2dDescriptor(descriptor, 0, pad, stride, 1, 1, dilation,
                                                   static_cast<cudnnConvolutionMode_t>(mode),
                                                   CUDNN_DATA_FLOAT);
  };
  const Tensor x(plain.x);
  const Filter w(plain.w);
  int n = 0, c = 0, h = 0, width = 0;
  const auto dims = [&] {
    return cudnn().cudnnGetConvolution2dForwardOutputDim(descriptor, x.descriptor, w.descriptor, &n, &c, &h,
                                                         &width);
  };
  CHECK(dims() == CUDNN_STATUS_BAD_PARAM);  // not set
  CHECK(set(-1, 1, 1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(set(0, 0, 1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(set(0, 1, 0, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(set(0, 1, 1, 7) == CUDNN_STATUS_BAD_PARAM);
  CHECK(set(0, 1, 1, 1) == CUDNN_STATUS_SUCCESS);
  CHECK(cudnn().cudnnSetConvolutionGroupCount(descriptor, 0) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnn().cudnnSetConvolutionMathType(descriptor, static_cast<cudnnMathType_t>(9)) ==
        CUDNN_STATUS_BAD_PARAM);
  CHECK(dims() == CUDNN_STATUS_SUCCESS);
  CHECK(std::vector{n, c, h, width} == std::vector{plain.y.n, plain.y.c, plain.y.h, plain.y.w});
  CHECK(cudnn().cudnnDestroyConvolutionDescriptor(descriptor) == CUDNN_STATUS_SUCCESS);
  CHECK(dims() == CUDNN_STATUS_BAD_PARAM);
  CHECK(set(0, 1, 1, 1) == CUDNN_STATUS_BAD_PARAM);
  CHECK(cudnn().cudnnDestroyConvolutionDescriptor(descriptor) == CUDNN_STATUS_BAD_PARAM);
}

TEST_CASE("the gradient of a convolution's bias is the sum over images and places") {
  const Handle handle;
  const Dims dims{2, 3, 2, 4};
  const Tensor dy_desc(dims), db_desc({1, 3, 1, 1}), wrong({1, 4, 1, 1});
  const std::vector<float> dy = values<float>(dims.size(), 1);
  const device::Array<float> grad(dy), db(std::vector<float>{1, 2, 3});
  const float alpha = 2, beta = 5;
  const auto backward = [&](const Tensor& desc) {
    return cudnn().cudnnConvolutionBackwardBias(handle.handle, &alpha, dy_desc.descriptor, grad.data(), &beta,
                                                desc.descriptor, db.data());
  };
  std::vector<double> expected{5, 10, 15};
  for (int n = 0; n < 2; ++n)
    for (int c = 0; c < 3; ++c)
      for (int i = 0; i < 8; ++i)
        expected[static_cast<std::size_t>(c)] +=
            2 * static_cast<double>(dy[dims.index(n, c, 0, 0) + static_cast<std::size_t>(i)]);
  check(backward(db_desc));
  check_close(expected, db.values());
  CHECK(backward(wrong) == CUDNN_STATUS_BAD_PARAM);
}
