#pragma once

#include "backend/choice.h"
#include "backend/problem_text.h"
#include "kernels/avg_pool2d.h"
#include "kernels/batch_norm.h"
#include "kernels/conv2d.h"
#include "kernels/global_avg_pool2d.h"
#include "kernels/linear.h"
#include "kernels/log_softmax.h"
#include "kernels/max_pool2d.h"

/// The tables of the operations with a choice, for Device::cuda(): each function runs our own kernel or
/// cuDNN's, as the policy says.
namespace kg::backend {

template <class T>
const kernels::AvgPool2dKernels<T>& avg_pool2d();
template <class T>
const kernels::BatchNormKernels<T>& batch_norm();
template <class T>
const kernels::Conv2dKernels<T>& conv2d();
template <class T>
const kernels::GlobalAvgPool2dKernels<T>& global_avg_pool2d();
template <class T>
const kernels::LinearKernels<T>& linear();
template <class T>
const kernels::LogSoftmaxKernels<T>& log_softmax();

/// max_pool2d has no such table: what backward goes by depends on who ran forward, so both must come from the
/// same one. Calls `forward` with the table to use for the problem, and returns that table. `rehearse` does a
/// forward and a backward with a table, and changes nothing that lasts.
template <class T, class Run, class Rehearse>
const kernels::MaxPool2dKernels<T>& max_pool2d(const kernels::Pool2dProblem& problem, const Run& forward,
                                               const Rehearse& rehearse) {
  const Function<kernels::MaxPool2dKernels<T>> function{Operation::max_pool2d, "forward and backward",
                                                        dtype_of<T>(), kernels::cuda::max_pool2d<T>,
                                                        kernels::cudnn::max_pool2d<T>};
  return choose(
      function, [&] { return describe(problem); }, forward, rehearse);
}

}  // namespace kg::backend
