// SPDX-License-Identifier: MIT
#include "kernels/log_softmax.h"

#include "kernels/cudnn/context.h"
#include "kernels/cudnn/descriptors.h"

/// log-softmax by cudnnSoftmaxForward and cudnnSoftmaxBackward, which subtract the row's maximum themselves.
namespace kg::kernels::cudnn {

namespace {

/// A row is an image: CUDNN_SOFTMAX_MODE_INSTANCE normalises over all of it.
template <class T>
TensorDescriptor layout_of(std::int64_t rows, std::int64_t classes) {
  return {"log_softmax: input", data_type<T>, {.n = rows, .c = classes}};
}

template <class T>
void forward(std::int64_t rows, std::int64_t classes, const T* input, T* output) {
  const TensorDescriptor layout = layout_of<T>(rows, classes);
  const LockedContext context;
  check(cudnn_library().cudnnSoftmaxForward(context->cudnn(), CUDNN_SOFTMAX_LOG, CUDNN_SOFTMAX_MODE_INSTANCE,
                                            &one<T>, layout.get(), input, &zero<T>, layout.get(), output),
        "cudnnSoftmaxForward");
}

template <class T>
void backward(std::int64_t rows, std::int64_t classes, const T* output, const T* grad_output, T* grad_input) {
  const TensorDescriptor layout = layout_of<T>(rows, classes);
  const LockedContext context;
  check(cudnn_library().cudnnSoftmaxBackward(context->cudnn(), CUDNN_SOFTMAX_LOG, CUDNN_SOFTMAX_MODE_INSTANCE,
                                             &one<T>, layout.get(), output, layout.get(), grad_output,
                                             &zero<T>, layout.get(), grad_input),
        "cudnnSoftmaxBackward");
}

template <class T>
constexpr LogSoftmaxKernels<T> log_softmax{forward<T>, backward<T>};

}  // namespace

template <>
Tables<LogSoftmaxKernels> tables() {
  return {&log_softmax<float>, &log_softmax<double>};
}

}  // namespace kg::kernels::cudnn
