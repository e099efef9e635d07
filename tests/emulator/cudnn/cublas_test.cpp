// SPDX-License-Identifier: MIT
#include <type_traits>

#include "approx.h"
#include "catch.h"
#include "standin.h"

// The stand-in's matrix products, and its workspaces.

namespace {

struct BlasHandle {
  cublasHandle_t handle = nullptr;
  CUstream_st* stream = device::create_stream();
  BlasHandle() {
    check(cublas().cublasCreate_v2(&handle));
    check(cublas().cublasSetStream_v2(handle, stream));
  }
  ~BlasHandle() {
    static_cast<void>(cublas().cublasDestroy_v2(handle));
    device::destroy_stream(stream);
  }
  BlasHandle(const BlasHandle&) = delete;
  BlasHandle& operator=(const BlasHandle&) = delete;
};

template <class T>
struct Gemm {
  cublasOperation_t transa = CUBLAS_OP_N, transb = CUBLAS_OP_N;
  int m = 3, n = 4, k = 5;
  T alpha = 1, beta = 0;
  int lda = 7, ldb = 8, ldc = 6;  // more than any extent

  cublasStatus_t operator()(cublasHandle_t handle, const T* a, const T* b, T* c) const {
    if constexpr (std::is_same_v<T, float>)
      return cublas().cublasSgemm_v2(handle, transa, transb, m, n, k, &alpha, a, lda, b, ldb, &beta, c, ldc);
    else
      return cublas().cublasDgemm_v2(handle, transa, transb, m, n, k, &alpha, a, lda, b, ldb, &beta, c, ldc);
  }
};

struct Arrays {
  device::Array<float> a{values<float>(35, 1)}, b{values<float>(40, 2)}, c{values<float>(24, 3)};
};

std::size_t at(int row, int column, int leading) { return static_cast<std::size_t>(column * leading + row); }

}  // namespace

TEMPLATE_TEST_CASE("gemm multiplies column-major matrices", "", float, double) {
  using T = TestType;
  const BlasHandle handle;
  const bool ta = GENERATE(false, true), tb = GENERATE(false, true);
  const T alpha = GENERATE(0, 2), beta = GENERATE(0, 3);
  const Gemm<T> gemm{.transa = ta ? CUBLAS_OP_T : CUBLAS_OP_N,
                     .transb = tb ? CUBLAS_OP_T : CUBLAS_OP_N,
                     .alpha = alpha,
                     .beta = beta};
  // As short as the last column allows.
  const std::vector<T> a = values<T>(ta ? 7 * 2 + 5 : 7 * 4 + 3, 1),
                       b = values<T>(tb ? 8 * 4 + 4 : 8 * 3 + 5, 2);
  std::vector<T> c = values<T>(6 * 3 + 3, 3);
  std::vector<double> expected(c.begin(), c.end());
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 4; ++column) {
      double sum = 0;
      for (int i = 0; i < 5; ++i)
        sum += static_cast<double>(a[ta ? at(i, row, 7) : at(row, i, 7)]) *
               b[tb ? at(column, i, 8) : at(i, column, 8)];
      double& element = expected[at(row, column, 6)];
      element = alpha * sum + beta * element;
      if (beta == 0) c[at(row, column, 6)] = std::numeric_limits<T>::quiet_NaN();
    }
  const device::Array<T> a_array(a), b_array(b), c_array(c);
  check(gemm(handle.handle, a_array.data(), b_array.data(), c_array.data()));
  check_close(expected, c_array.values());
}

TEST_CASE("gemm without a sum only scales") {
  const BlasHandle handle;
  const Arrays arrays;
  std::vector<double> expected;
  for (const float value : arrays.c.values()) expected.push_back(value);
  check(Gemm<float>{.m = 0, .beta = 2}(handle.handle, nullptr, nullptr, arrays.c.data()));
  check_close(expected, arrays.c.values());
  check(Gemm<float>{.k = 0, .beta = 2}(handle.handle, nullptr, nullptr, arrays.c.data()));
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 4; ++column) expected[at(row, column, 6)] *= 2;
  check_close(expected, arrays.c.values());
}

TEST_CASE("gemm refuses what cuBLAS refuses") {
  const BlasHandle handle;
  const Arrays arrays;
  const auto status = [&](const Gemm<float>& gemm) {
    return gemm(handle.handle, arrays.a.data(), arrays.b.data(), arrays.c.data());
  };
  const auto invalid = CUBLAS_STATUS_INVALID_VALUE;
  CHECK(status({}) == CUBLAS_STATUS_SUCCESS);
  CHECK(status({.m = -1}) == invalid);
  CHECK(status({.n = -1}) == invalid);
  CHECK(status({.k = -1}) == invalid);
  CHECK(status({.lda = 2}) == invalid);
  CHECK(status({.transa = CUBLAS_OP_T, .lda = 4}) == invalid);
  CHECK(status({.lda = 3}) == CUBLAS_STATUS_SUCCESS);
  CHECK(status({.ldb = 4}) == invalid);
  CHECK(status({.transb = CUBLAS_OP_T, .ldb = 3}) == invalid);
  CHECK(status({.ldb = 5}) == CUBLAS_STATUS_SUCCESS);
  CHECK(status({.ldc = 2}) == invalid);
  CHECK(status({.transa = static_cast<cublasOperation_t>(9)}) == invalid);
  CHECK(Gemm<float>{}(handle.handle, arrays.a.data(), arrays.b.data(), nullptr) == invalid);
  const float one = 1;
  const auto with = [&](const float* alpha, const float* beta) {
    return cublas().cublasSgemm_v2(handle.handle, CUBLAS_OP_N, CUBLAS_OP_N, 3, 4, 5, alpha, arrays.a.data(),
                                   7, arrays.b.data(), 8, beta, arrays.c.data(), 6);
  };
  CHECK(with(nullptr, &one) == invalid);
  CHECK(with(&one, nullptr) == invalid);
}

TEST_CASE("handles that do not exist are refused") {
  cublasHandle_t handle = nullptr;
  check(cublas().cublasCreate_v2(&handle));
  check(cublas().cublasDestroy_v2(handle));
  const BlasHandle newer;
  const auto missing = CUBLAS_STATUS_NOT_INITIALIZED;
  CHECK(cublas().cublasDestroy_v2(handle) == missing);
  CHECK(cublas().cublasSetStream_v2(handle, nullptr) == missing);
  CHECK(cublas().cublasSetWorkspace_v2(handle, nullptr, 0) == missing);
  CHECK(cublas().cublasSetMathMode(handle, CUBLAS_DEFAULT_MATH) == missing);
  CHECK(Gemm<float>{}(handle, nullptr, nullptr, nullptr) == missing);
}

TEST_CASE("only the mode TF32 rounds operands, and only floats") {
  const BlasHandle handle;
  const auto mode = GENERATE(CUBLAS_DEFAULT_MATH, CUBLAS_PEDANTIC_MATH, CUBLAS_TF32_TENSOR_OP_MATH);
  check(cublas().cublasSetMathMode(handle.handle, mode));
  const auto product = [&](auto value) {
    using T = decltype(value);
    const device::Array<T> a(std::vector<T>{value}), b(std::vector<T>{1}), c(1);
    check(Gemm<T>{.m = 1, .n = 1, .k = 1, .lda = 1, .ldb = 1, .ldc = 1}(handle.handle, a.data(), b.data(),
                                                                        c.data()));
    return c.values().front();
  };
  CHECK(product(1 + 0x1p-14f) == (mode == CUBLAS_TF32_TENSOR_OP_MATH ? 1 : 1 + 0x1p-14f));
  CHECK(product(1 + 0x1p-14) == 1 + 0x1p-14);
  CHECK(cublas().cublasSetMathMode(handle.handle, static_cast<cublasMath_t>(77)) ==
        CUBLAS_STATUS_INVALID_VALUE);
}

TEST_CASE("a workspace is scribbled over, until the stream is set") {
  const BlasHandle handle;
  const Arrays arrays;
  constexpr std::size_t bytes = 16 << 10;
  const std::vector<unsigned char> before(bytes, 7);
  const device::Array<unsigned char> workspace(before);
  const auto gemm = [&] {
    return Gemm<float>{}(handle.handle, arrays.a.data(), arrays.b.data(), arrays.c.data());
  };
  check(cublas().cublasSetWorkspace_v2(handle.handle, workspace.data(), bytes));
  check(cublas().cublasSetStream_v2(handle.handle, handle.stream));
  check(gemm());
  CHECK(workspace.values() == before);
  check(cublas().cublasSetWorkspace_v2(handle.handle, workspace.data(), bytes));
  check(gemm());
  const std::vector<unsigned char> after = workspace.values();
  CHECK(std::count(after.begin(), after.end(), 7) == 0);

  CHECK(cublas().cublasSetWorkspace_v2(handle.handle, workspace.data() + 128, bytes - 128) ==
        CUBLAS_STATUS_INVALID_VALUE);
  check(cublas().cublasSetWorkspace_v2(handle.handle, workspace.data(), bytes - 4));
  CHECK(gemm() == CUBLAS_STATUS_ALLOC_FAILED);
  check(cublas().cublasSetWorkspace_v2(handle.handle, nullptr, 0));
  CHECK(gemm() == CUBLAS_STATUS_ALLOC_FAILED);
}

TEST_CASE("gemm can be captured, with the scalars of the call") {
  const BlasHandle handle;
  const device::Array<double> a(std::vector<double>{3}), b(std::vector<double>{5}), c(std::vector<double>{1});
  Gemm<double> gemm{.m = 1, .n = 1, .k = 1, .alpha = 1, .beta = 2, .lda = 1, .ldb = 1, .ldc = 1};
  device::begin_capture(handle.stream);
  check(gemm(handle.handle, a.data(), b.data(), c.data()));
  gemm.alpha = gemm.beta = 100;
  const device::Graph graph(handle.stream);
  graph.replay(handle.stream);
  graph.replay(handle.stream);
  CHECK(c.values() == std::vector<double>{49});
}
