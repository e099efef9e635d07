// SPDX-License-Identifier: MIT
#include "kernels/linear.h"

#include "kernels/cudnn/context.h"
#include "kernels/cudnn/descriptors.h"

/// Matrix products by cuBLAS. The bias is added by cudnnAddTensor, and its gradient is that of a convolution
/// whose images are single pixels.
///
/// cuBLAS counts along columns first. A matrix of ours, rows first, is to cuBLAS its own transpose, so that
/// what is asked for is the transposed result: output^T = weight input^T, and so on.
namespace kg::kernels::cudnn {

namespace {

cublasStatus_t gemm(cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op, int m, int n,
                    int k, const float* a, int a_pitch, const float* b, int b_pitch, float* c, int c_pitch) {
  return cublas_library().cublasSgemm_v2(handle, a_op, b_op, m, n, k, &one<float>, a, a_pitch, b, b_pitch,
                                         &zero<float>, c, c_pitch);
}

cublasStatus_t gemm(cublasHandle_t handle, cublasOperation_t a_op, cublasOperation_t b_op, int m, int n,
                    int k, const double* a, int a_pitch, const double* b, int b_pitch, double* c,
                    int c_pitch) {
  return cublas_library().cublasDgemm_v2(handle, a_op, b_op, m, n, k, &one<double>, a, a_pitch, b, b_pitch,
                                         &zero<double>, c, c_pitch);
}

/// The extents as cuBLAS takes them.
struct Extents {
  int rows, in, out;
};

Extents extents_of(const LinearProblem& p) {
  require_describable("linear: input", {.n = p.rows, .c = p.in_features});
  require_describable("linear: weight", {.n = p.out_features, .c = p.in_features});
  require_describable("linear: output", {.n = p.rows, .c = p.out_features});
  return {static_cast<int>(p.rows), static_cast<int>(p.in_features), static_cast<int>(p.out_features)};
}

/// Full float32 unless TF32 is allowed; in double the mode makes no difference.
cublasHandle_t handle_of(const LockedContext& context) {
  const cublasHandle_t handle = context->cublas();
  check(cublas_library().cublasSetMathMode(
            handle, options().allow_tf32 ? CUBLAS_TF32_TENSOR_OP_MATH : CUBLAS_DEFAULT_MATH),
        "cublasSetMathMode");
  return handle;
}

/// The output and the bias as cuDNN sees them: images of one pixel.
template <class T>
struct Layouts {
  TensorDescriptor output, bias;

  explicit Layouts(const LinearProblem& p)
      : output("linear: output", data_type<T>, {.n = p.rows, .c = p.out_features}),
        bias("linear: bias", data_type<T>, {.n = 1, .c = p.out_features}) {}
};

template <class T>
void forward(const LinearProblem& p, const T* input, const T* weight, const T* bias, T* output) {
  const Extents e = extents_of(p);
  const LockedContext context;
  check(gemm(handle_of(context), CUBLAS_OP_T, CUBLAS_OP_N, e.out, e.rows, e.in, weight, e.in, input, e.in,
             output, e.out),
        "cublas gemm");
  if (!bias) return;
  const Layouts<T> layouts(p);
  check(cudnn_library().cudnnAddTensor(context->cudnn(), &one<T>, layouts.bias.get(), bias, &one<T>,
                                       layouts.output.get(), output),
        "cudnnAddTensor");
}

template <class T>
void backward_input(const LinearProblem& p, const T* grad_output, const T* weight, T* grad_input) {
  const Extents e = extents_of(p);
  const LockedContext context;
  check(gemm(handle_of(context), CUBLAS_OP_N, CUBLAS_OP_N, e.in, e.rows, e.out, weight, e.in, grad_output,
             e.out, grad_input, e.in),
        "cublas gemm");
}

template <class T>
void backward_weight(const LinearProblem& p, const T* input, const T* grad_output, T* grad_weight) {
  const Extents e = extents_of(p);
  const LockedContext context;
  check(gemm(handle_of(context), CUBLAS_OP_N, CUBLAS_OP_T, e.in, e.out, e.rows, input, e.in, grad_output,
             e.out, grad_weight, e.in),
        "cublas gemm");
}

template <class T>
void backward_bias(const LinearProblem& p, const T* grad_output, T* grad_bias) {
  const Layouts<T> layouts(p);
  const LockedContext context;
  check(cudnn_library().cudnnConvolutionBackwardBias(context->cudnn(), &one<T>, layouts.output.get(),
                                                     grad_output, &zero<T>, layouts.bias.get(), grad_bias),
        "cudnnConvolutionBackwardBias");
}

template <class T>
constexpr LinearKernels<T> linear{forward<T>, backward_input<T>, backward_weight<T>, backward_bias<T>};

}  // namespace

template <>
Tables<LinearKernels> tables() {
  return {&linear<float>, &linear<double>};
}

}  // namespace kg::kernels::cudnn
