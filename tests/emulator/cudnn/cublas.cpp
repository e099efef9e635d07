// SPDX-License-Identifier: MIT
#include <cublas_v2.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <mutex>
#include <set>

#include "device_call.h"

/// The stand-in for cuBLAS: matrix products, column-major.

struct cublasContext {
  CUstream_st* stream = nullptr;
  cublasMath_t math = CUBLAS_DEFAULT_MATH;
  bool own_workspace = true;  ///< memory from the library's pool, which nobody else sees
  standin::Array workspace{"workspace", nullptr, 0, false};
};

namespace standin {

namespace {

/// The least workspace with which every function works, as cublasSetWorkspace() is documented.
constexpr std::size_t sufficient_workspace = std::size_t{16} << 10;
constexpr std::size_t workspace_alignment = 256;

std::mutex handles_mutex;
std::set<cublasHandle_t>& handles() {
  static auto& handles = *new std::set<cublasHandle_t>;
  return handles;
}

bool exists(cublasHandle_t handle) {
  const std::lock_guard lock(handles_mutex);
  return handles().contains(handle);
}

struct Matrix {
  Array array;
  cublasOperation_t operation;
  std::size_t leading;

  double at(std::size_t row, std::size_t column) const {
    return load(array, operation == CUBLAS_OP_N ? column * leading + row : row * leading + column);
  }
};

/// op(matrix) of rows x columns; nothing of it is read if one of them is 0.
Matrix matrix(const char* argument, const void* memory, bool is_double, cublasOperation_t operation, int rows,
              int columns, int leading) {
  if (operation != CUBLAS_OP_N) std::swap(rows, columns);
  const auto stride = static_cast<std::size_t>(leading);
  const std::size_t size = rows == 0 || columns == 0 ? 0
                                                     : stride * static_cast<std::size_t>(columns - 1) +
                                                           static_cast<std::size_t>(rows);
  return {{argument, const_cast<void*>(memory), size, is_double}, operation, stride};
}

struct Gemm {
  std::size_t m, n, k;
  double alpha, beta;
  Matrix a, b, c;
  bool tf32;
};

void multiply(const Gemm& p) {
  for (std::size_t column = 0; column < p.n; ++column)
    for (std::size_t row = 0; row < p.m; ++row) {
      double sum = 0;
      for (std::size_t i = 0; i < p.k && p.alpha != 0; ++i) {
        const double a = p.a.at(row, i), b = p.b.at(i, column);
        sum += p.tf32 ? to_tf32(a) * to_tf32(b) : a * b;
      }
      blend(p.c.array, column * p.c.leading + row, p.alpha, sum, p.beta);
    }
}

bool is_operation(cublasOperation_t operation) {
  return operation == CUBLAS_OP_N || operation == CUBLAS_OP_T || operation == CUBLAS_OP_C;
}

/// A function's arguments, but for its handle.
template <class T>
struct Arguments {
  cublasOperation_t transa, transb;
  int m, n, k;
  const T *alpha, *A;
  int lda;
  const T* B;
  int ldb;
  const T* beta;
  T* C;
  int ldc;
};

template <class T>
bool is_valid(const Arguments<T>& p) {
  return is_operation(p.transa) && is_operation(p.transb) && p.m >= 0 && p.n >= 0 && p.k >= 0 &&
         p.lda >= std::max(1, p.transa == CUBLAS_OP_N ? p.m : p.k) &&
         p.ldb >= std::max(1, p.transb == CUBLAS_OP_N ? p.k : p.n) && p.ldc >= std::max(1, p.m) && p.alpha &&
         p.beta && p.C;
}

template <class T>
cublasStatus_t gemm(const char* function, cublasHandle_t handle, const Arguments<T>& p) {
  constexpr bool is_double = sizeof(T) == sizeof(double);
  if (!exists(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (!is_valid(p)) return CUBLAS_STATUS_INVALID_VALUE;
  const Array workspace = handle->workspace;
  if (!handle->own_workspace && workspace.bytes() < sufficient_workspace) return CUBLAS_STATUS_ALLOC_FAILED;
  if (p.m == 0 || p.n == 0) return CUBLAS_STATUS_SUCCESS;
  const Gemm task{.m = static_cast<std::size_t>(p.m),
                  .n = static_cast<std::size_t>(p.n),
                  .k = static_cast<std::size_t>(p.k),
                  .alpha = read_scalar(function, "alpha", p.alpha, is_double),
                  .beta = read_scalar(function, "beta", p.beta, is_double),
                  .a = matrix("A", p.A, is_double, p.transa, p.m, p.k, p.lda),
                  .b = matrix("B", p.B, is_double, p.transb, p.k, p.n, p.ldb),
                  .c = matrix("C", p.C, is_double, CUBLAS_OP_N, p.m, p.n, p.ldc),
                  .tf32 = !is_double && handle->math == CUBLAS_TF32_TENSOR_OP_MATH};
  DeviceCall call(function, handle->stream);
  if (p.k > 0) {
    call.reads(task.a.array);
    call.reads(task.b.array);
  }
  call.writes(task.c.array);
  if (!handle->own_workspace) call.writes(workspace);
  const bool queued = call.run([task, workspace] {
    if (workspace.memory) scribble(workspace);
    multiply(task);
  });
  return queued ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

}  // namespace standin

using namespace standin;

cublasStatus_t cublasGetProperty(libraryPropertyType type, int* value) {
  if (!value) return CUBLAS_STATUS_INVALID_VALUE;
  switch (type) {
    case MAJOR_VERSION:
      *value = CUBLAS_VER_MAJOR;
      return CUBLAS_STATUS_SUCCESS;
    case MINOR_VERSION:
      *value = CUBLAS_VER_MINOR;
      return CUBLAS_STATUS_SUCCESS;
    case PATCH_LEVEL:
      *value = CUBLAS_VER_PATCH;
      return CUBLAS_STATUS_SUCCESS;
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

const char* cublasGetStatusString(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "success";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "the handle does not exist";
    case CUBLAS_STATUS_ALLOC_FAILED:
      return "the workspace is too small";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "an argument is invalid";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "the work could not be queued";
    default:
      return "unknown status";
  }
}

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  emulator::check_no_capture("cublasCreate");
  if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
  // Those destroyed stay here, so that none is taken for a newer one.
  static auto& storage = *new std::deque<cublasContext>;
  const std::lock_guard lock(handles_mutex);
  *handle = &storage.emplace_back();
  handles().insert(*handle);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  emulator::check_no_capture("cublasDestroy");
  const std::lock_guard lock(handles_mutex);
  return handles().erase(handle) == 1 ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_INITIALIZED;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t streamId) {
  if (!exists(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  emulator::check_stream("cublasSetStream", streamId);
  handle->stream = streamId;
  // As documented: back to the library's own pool.
  handle->own_workspace = true;
  handle->workspace = {"workspace", nullptr, 0, false};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, size_t workspaceSizeInBytes) {
  if (!exists(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (reinterpret_cast<std::uintptr_t>(workspace) % workspace_alignment != 0)
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!workspace && workspaceSizeInBytes > 0) return CUBLAS_STATUS_INVALID_VALUE;
  handle->own_workspace = false;
  handle->workspace = {"workspace", workspace, workspaceSizeInBytes / sizeof(float), false};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  if (!exists(handle)) return CUBLAS_STATUS_NOT_INITIALIZED;
  if (mode != CUBLAS_DEFAULT_MATH && mode != CUBLAS_PEDANTIC_MATH && mode != CUBLAS_TF32_TENSOR_OP_MATH)
    return CUBLAS_STATUS_INVALID_VALUE;
  handle->math = mode;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                              int m, int n, int k, const float* alpha, const float* A, int lda,
                              const float* B, int ldb, const float* beta, float* C, int ldc) {
  return gemm<float>("cublasSgemm", handle, {transa, transb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc});
}

cublasStatus_t cublasDgemm_v2(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                              int m, int n, int k, const double* alpha, const double* A, int lda,
                              const double* B, int ldb, const double* beta, double* C, int ldc) {
  return gemm<double>("cublasDgemm", handle, {transa, transb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc});
}
