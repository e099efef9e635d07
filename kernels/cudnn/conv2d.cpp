// SPDX-License-Identifier: MIT
#include "kernels/conv2d.h"

#include <array>
#include <cstddef>
#include <map>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/cudnn/context.h"
#include "kernels/cudnn/descriptors.h"

/// Convolution by cudnnConvolutionForward, ...BackwardData and ...BackwardFilter; the bias is added in place
/// by cudnnAddTensor, its gradient is cudnnConvolutionBackwardBias. Which algorithm runs is decided when a
/// problem is first seen, by cuDNN's own ranking, without measuring: the same in every run.
namespace kg::kernels::cudnn {

namespace {

/// Algorithms that would use more are passed over.
constexpr std::size_t largest_workspace = std::size_t{1} << 30;

/// Products in double have no faster, less precise form.
template <class T>
constexpr bool has_tf32 = std::is_same_v<T, float>;

struct Descriptors {
  TensorDescriptor input, output;
  FilterDescriptor weight;
  ConvolutionDescriptor convolution;

  Descriptors(const Conv2dProblem& p, cudnnDataType_t type, cudnnMathType_t math)
      : input("conv2d: input", type, {.n = p.n, .c = p.c_in, .h = p.h, .w = p.w}),
        output("conv2d: output", type, {.n = p.n, .c = p.c_out, .h = p.out_h(), .w = p.out_w()}),
        weight("conv2d: weight", type, {.n = p.c_out, .c = p.c_in / p.groups, .h = p.k_h, .w = p.k_w}),
        convolution(p, type, math) {}
};

/// What cuDNN calls differently in each of the three directions.
struct Forward {
  using Candidate = cudnnConvolutionFwdAlgoPerf_t;
  static constexpr int candidates = CUDNN_CONVOLUTION_FWD_ALGO_COUNT;

  static cudnnStatus_t rank(cudnnHandle_t handle, const Descriptors& d, int* count, Candidate* ranked) {
    return cudnn_library().cudnnGetConvolutionForwardAlgorithm_v7(handle, d.input.get(), d.weight.get(),
                                                                  d.convolution.get(), d.output.get(),
                                                                  candidates, count, ranked);
  }
  static cudnnStatus_t workspace(cudnnHandle_t handle, const Descriptors& d,
                                 cudnnConvolutionFwdAlgo_t algorithm, std::size_t* bytes) {
    return cudnn_library().cudnnGetConvolutionForwardWorkspaceSize(
        handle, d.input.get(), d.weight.get(), d.convolution.get(), d.output.get(), algorithm, bytes);
  }
};

struct BackwardInput {
  using Candidate = cudnnConvolutionBwdDataAlgoPerf_t;
  static constexpr int candidates = CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT;

  static cudnnStatus_t rank(cudnnHandle_t handle, const Descriptors& d, int* count, Candidate* ranked) {
    return cudnn_library().cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, d.weight.get(), d.output.get(),
                                                                       d.convolution.get(), d.input.get(),
                                                                       candidates, count, ranked);
  }
  static cudnnStatus_t workspace(cudnnHandle_t handle, const Descriptors& d,
                                 cudnnConvolutionBwdDataAlgo_t algorithm, std::size_t* bytes) {
    return cudnn_library().cudnnGetConvolutionBackwardDataWorkspaceSize(
        handle, d.weight.get(), d.output.get(), d.convolution.get(), d.input.get(), algorithm, bytes);
  }
};

struct BackwardWeight {
  using Candidate = cudnnConvolutionBwdFilterAlgoPerf_t;
  static constexpr int candidates = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT;

  static cudnnStatus_t rank(cudnnHandle_t handle, const Descriptors& d, int* count, Candidate* ranked) {
    return cudnn_library().cudnnGetConvolutionBackwardFilterAlgorithm_v7(
        handle, d.input.get(), d.output.get(), d.convolution.get(), d.weight.get(), candidates, count,
        ranked);
  }
  static cudnnStatus_t workspace(cudnnHandle_t handle, const Descriptors& d,
                                 cudnnConvolutionBwdFilterAlgo_t algorithm, std::size_t* bytes) {
    return cudnn_library().cudnnGetConvolutionBackwardFilterWorkspaceSize(
        handle, d.input.get(), d.output.get(), d.convolution.get(), d.weight.get(), algorithm, bytes);
  }
};

/// How a problem is computed in one direction.
template <class T, class Direction>
struct Plan {
  Descriptors descriptors;
  decltype(Direction::Candidate::algo) algorithm = {};
  std::size_t workspace_bytes = 0;

  /// Takes the best of cuDNN's algorithms, in its order, that meets the options. Throws Unsupported if there
  /// is none.
  Plan(const Conv2dProblem& p, const CudnnOptions& options, cudnnHandle_t handle)
      // CUDNN_DEFAULT_MATH permits TF32.
      : descriptors(p, data_type<T>,
                    has_tf32<T> && !options.allow_tf32 ? CUDNN_FMA_MATH : CUDNN_DEFAULT_MATH) {
    std::array<typename Direction::Candidate, Direction::candidates> ranked = {};
    int count = 0;
    check(Direction::rank(handle, descriptors, &count, ranked.data()), "cudnnGetConvolution...Algorithm_v7");
    for (int i = 0; i < count; ++i)
      if (try_candidate(ranked[static_cast<std::size_t>(i)], options, handle)) return;
    throw Unsupported(
        "conv2d: cudnn has no algorithm for this problem that is deterministic and in full float32 where "
        "that is asked for, and makes do with a workspace of 1 GiB");
  }

  bool try_candidate(const typename Direction::Candidate& candidate, const CudnnOptions& options,
                     cudnnHandle_t handle) {
    if (candidate.status != CUDNN_STATUS_SUCCESS) return false;
    if (options.deterministic && candidate.determinism != CUDNN_DETERMINISTIC) return false;
    // An algorithm is ranked once for each kind of arithmetic; this is the one that was meant.
    if (has_tf32<T> && options.allow_tf32) descriptors.convolution.set_math(candidate.mathType);
    // Asked for again, because candidate.memory is an estimate where the algorithm is not the first.
    const cudnnStatus_t status = Direction::workspace(handle, descriptors, candidate.algo, &workspace_bytes);
    algorithm = candidate.algo;
    return status == CUDNN_STATUS_SUCCESS && workspace_bytes <= largest_workspace;
  }
};

/// The plan of a problem, made when it is first seen.
template <class T, class Direction>
const Plan<T, Direction>& plan_of(const Conv2dProblem& p, const LockedContext& context) {
  // Guarded by the context's lock. Never destroyed, as contexts are not.
  using Key = std::tuple<Conv2dProblem, bool, bool>;
  static auto& plans = *new std::map<Key, Plan<T, Direction>>;
  const CudnnOptions chosen = options();
  const Key key{p, chosen.allow_tf32, chosen.deterministic};
  const auto found = plans.find(key);
  if (found != plans.end()) return found->second;
  return plans
      .emplace(std::piecewise_construct, std::forward_as_tuple(key),
               std::forward_as_tuple(p, chosen, context->cudnn()))
      .first->second;
}

TensorDescriptor bias_descriptor(const Conv2dProblem& p, cudnnDataType_t type) {
  return {"conv2d: bias", type, {.n = 1, .c = p.c_out}};
}

template <class T>
void forward(const Conv2dProblem& p, const T* input, const T* weight, const T* bias, T* output) {
  const LockedContext context;
  const auto& plan = plan_of<T, Forward>(p, context);
  const Descriptors& d = plan.descriptors;
  check(cudnn_library().cudnnConvolutionForward(context->cudnn(), &one<T>, d.input.get(), input,
                                                d.weight.get(), weight, d.convolution.get(), plan.algorithm,
                                                context->workspace(plan.workspace_bytes),
                                                plan.workspace_bytes, &zero<T>, d.output.get(), output),
        "cudnnConvolutionForward");
  if (!bias) return;
  const TensorDescriptor bias_layout = bias_descriptor(p, data_type<T>);
  check(cudnn_library().cudnnAddTensor(context->cudnn(), &one<T>, bias_layout.get(), bias, &one<T>,
                                       d.output.get(), output),
        "cudnnAddTensor");
}

template <class T>
void backward_input(const Conv2dProblem& p, const T* grad_output, const T* weight, T* grad_input) {
  const LockedContext context;
  const auto& plan = plan_of<T, BackwardInput>(p, context);
  const Descriptors& d = plan.descriptors;
  check(cudnn_library().cudnnConvolutionBackwardData(
            context->cudnn(), &one<T>, d.weight.get(), weight, d.output.get(), grad_output,
            d.convolution.get(), plan.algorithm, context->workspace(plan.workspace_bytes),
            plan.workspace_bytes, &zero<T>, d.input.get(), grad_input),
        "cudnnConvolutionBackwardData");
}

template <class T>
void backward_weight(const Conv2dProblem& p, const T* input, const T* grad_output, T* grad_weight) {
  const LockedContext context;
  const auto& plan = plan_of<T, BackwardWeight>(p, context);
  const Descriptors& d = plan.descriptors;
  check(cudnn_library().cudnnConvolutionBackwardFilter(
            context->cudnn(), &one<T>, d.input.get(), input, d.output.get(), grad_output, d.convolution.get(),
            plan.algorithm, context->workspace(plan.workspace_bytes), plan.workspace_bytes, &zero<T>,
            d.weight.get(), grad_weight),
        "cudnnConvolutionBackwardFilter");
}

template <class T>
void backward_bias(const Conv2dProblem& p, const T* grad_output, T* grad_bias) {
  const TensorDescriptor output("conv2d: output", data_type<T>,
                                {.n = p.n, .c = p.c_out, .h = p.out_h(), .w = p.out_w()});
  const TensorDescriptor bias = bias_descriptor(p, data_type<T>);
  const LockedContext context;
  check(cudnn_library().cudnnConvolutionBackwardBias(context->cudnn(), &one<T>, output.get(), grad_output,
                                                     &zero<T>, bias.get(), grad_bias),
        "cudnnConvolutionBackwardBias");
}

template <class T>
constexpr Conv2dKernels<T> conv2d{plain<forward<T>>, plain<backward_input<T>>, plain<backward_weight<T>>,
                                  plain<backward_bias<T>>};

}  // namespace

template <>
Tables<Conv2dKernels> tables() {
  return {&conv2d<float>, &conv2d<double>};
}

}  // namespace kg::kernels::cudnn
