// SPDX-License-Identifier: MIT
#include "kernels/batch_norm.h"

#include <optional>
#include <string>

#include "kernelgrad/device_array.h"
#include "kernels/cudnn/context.h"
#include "kernels/cudnn/descriptors.h"
#include "kernels/elementwise.h"
#include "kernels/graph.h"

/// Batch normalisation by cuDNN's functions of that name, in CUDNN_BATCHNORM_SPATIAL mode. They compute
/// x -> gamma * (x - mean) / sqrt(variance + epsilon) + beta alone: the relus and the dropout around it are
/// passes of their own, by our own kernels, with what lies between them in scratch memory.
///
/// cuDNN's exponentialAverageFactor is our momentum, its running variance takes the unbiased one, and what it
/// saves for backward is what the contract calls mean and inv_std.
namespace kg::kernels::cudnn {

namespace {

constexpr cudnnBatchNormMode_t mode = CUDNN_BATCHNORM_SPATIAL;

/// The descriptions of a problem's arrays: of the activations, and of what there is one of for each channel.
template <class T>
struct Layouts {
  TensorDescriptor activations, channels;

  explicit Layouts(const BatchNormProblem& p)
      : activations("batch_norm: input", data_type<T>, {.n = p.n, .c = p.channels, .h = p.plane}),
        channels("batch_norm: gamma", data_type<T>, {.n = 1, .c = p.channels}) {
    if (p.epsilon < CUDNN_BN_MIN_EPSILON)
      throw Unsupported("batch_norm: cudnn takes no epsilon below " + std::to_string(CUDNN_BN_MIN_EPSILON) +
                        ", and this one is " + std::to_string(p.epsilon));
  }
};

std::int64_t count_of(const BatchNormProblem& p) { return p.n * p.channels * p.plane; }

/// gamma and beta, which cuDNN does not do without: ones and zeros where there are none.
template <class T>
class Affine {
 public:
  Affine(const BatchNormProblem& p, const T* gamma, const T* beta) : gamma_(gamma), beta_(beta) {
    if (gamma) return;
    memory_.emplace(2 * p.channels);
    gamma_ = memory_->data();
    beta_ = memory_->data() + p.channels;
    cuda::tables<ElementwiseKernels>().of<T>()->fill(p.channels, 1, memory_->data());
    cuda::tables<ElementwiseKernels>().of<T>()->fill(p.channels, 0, memory_->data() + p.channels);
  }

  const T* gamma() const { return gamma_; }
  const T* beta() const { return beta_; }

 private:
  const T *gamma_, *beta_;
  std::optional<DeviceArray<T>> memory_;
};

/// relu_before(input).
template <class T>
class Rectified {
 public:
  Rectified(const BatchNormProblem& p, const T* input) : data_(input) {
    if (!p.relu_before) return;
    memory_.emplace(count_of(p));
    cuda::tables<ElementwiseKernels>().of<T>()->unary(Relu(), count_of(p), input, memory_->data());
    data_ = memory_->data();
  }

  const T* data() const { return data_; }

 private:
  const T* data_;
  std::optional<DeviceArray<T>> memory_;
};

/// What comes behind the normalisation. Neither pass works in place: the contract does not offer that.
template <class T>
class Epilogue {
 public:
  Epilogue(const BatchNormProblem& p, T* output) : problem_(p), output_(output) {
    if (p.relu_after || dropout()) memory_.emplace(count_of(p));
  }

  /// Where the normalisation is to leave its result: as many passes away from the output as there are.
  T* normalized() { return problem_.relu_after != dropout() ? memory_->data() : output_; }

  void run() {
    const T* done = normalized();
    if (problem_.relu_after) {
      T* rectified = dropout() ? memory_->data() : output_;
      cuda::tables<ElementwiseKernels>().of<T>()->unary(Relu(), count_of(problem_), done, rectified);
      done = rectified;
    }
    if (dropout())
      cuda::tables<DropoutKernels>().of<T>()->apply(problem_.dropout, count_of(problem_), done, output_);
  }

 private:
  bool dropout() const { return problem_.dropout.p > 0; }

  const BatchNormProblem& problem_;
  T* output_;
  std::optional<DeviceArray<T>> memory_;
};

template <class T>
void forward_training(const BatchNormProblem& p, const T* input, const T* gamma, const T* beta,
                      double momentum, T* running_mean, T* running_var, std::int64_t* num_batches_tracked,
                      T* mean, T* inv_std, T* output) {
  const Layouts<T> layouts(p);
  const LockedContext context;
  const cudnnHandle_t handle = context->cudnn();
  const Affine<T> affine(p, gamma, beta);
  const Rectified<T> x(p, input);
  Epilogue<T> epilogue(p, output);
  check(cudnn_library().cudnnBatchNormalizationForwardTraining(
            handle, mode, &one<T>, &zero<T>, layouts.activations.get(), x.data(), layouts.activations.get(),
            epilogue.normalized(), layouts.channels.get(), affine.gamma(), affine.beta(), momentum,
            running_mean, running_var, p.epsilon, mean, inv_std),
        "cudnnBatchNormalizationForwardTraining");
  epilogue.run();
  if (num_batches_tracked) cuda::advance_counter(reinterpret_cast<std::uint64_t*>(num_batches_tracked), 1);
}

template <class T>
void forward_inference(const BatchNormProblem& p, const T* input, const T* gamma, const T* beta,
                       const T* mean, const T* var, T* inv_std, T* output) {
  const Layouts<T> layouts(p);
  const LockedContext context;
  const cudnnHandle_t handle = context->cudnn();
  const Affine<T> affine(p, gamma, beta);
  const Rectified<T> x(p, input);
  Epilogue<T> epilogue(p, output);
  check(
      cudnn_library().cudnnBatchNormalizationForwardInference(
          handle, mode, &one<T>, &zero<T>, layouts.activations.get(), x.data(), layouts.activations.get(),
          epilogue.normalized(), layouts.channels.get(), affine.gamma(), affine.beta(), mean, var, p.epsilon),
      "cudnnBatchNormalizationForwardInference");
  epilogue.run();
  // cuDNN does not tell inv_std. Our own kernel does, also of planes without values.
  cuda::tables<BatchNormKernels>().of<T>()->forward_inference(
      {.n = p.n, .channels = p.channels, .plane = 0, .epsilon = p.epsilon}, input, nullptr, nullptr, mean,
      var, inv_std, output);
}

/// The gradient behind the normalisation: grad_output through dropout and relu_after.
template <class T>
class GradientBeforeEpilogue {
 public:
  /// `normalize(T* result)` computes the normalisation's result once more.
  template <class Normalize>
  GradientBeforeEpilogue(const BatchNormProblem& p, const T* grad_output, const Normalize& normalize)
      : data_(grad_output) {
    const std::int64_t count = count_of(p);
    if (p.dropout.p > 0) {
      dropped_.emplace(count);
      cuda::tables<DropoutKernels>().of<T>()->apply(p.dropout, count, data_, dropped_->data());
      data_ = dropped_->data();
    }
    if (p.relu_after) {
      DeviceArray<T> normalized(count);
      normalize(normalized.data());
      rectified_.emplace(count);
      cuda::tables<ElementwiseKernels>().of<T>()->unary_backward(Relu(), count, normalized.data(), data_,
                                                                 rectified_->data());
      data_ = rectified_->data();
    }
  }

  const T* data() const { return data_; }

 private:
  const T* data_;
  std::optional<DeviceArray<T>> dropped_, rectified_;
};

/// An array that cuDNN writes whether it is asked for or not.
template <class T>
class OptionalOutput {
 public:
  OptionalOutput(T* array, std::int64_t count) : data_(array) {
    if (!array) data_ = memory_.emplace(count).data();
  }

  T* data() const { return data_; }

 private:
  T* data_;
  std::optional<DeviceArray<T>> memory_;
};

template <class T>
void backward(const BatchNormProblem& p, bool batch_statistics, const T* input, const T* grad_output,
              const T* gamma, const T* beta, const T* mean, const T* inv_std, T* grad_input, T* grad_gamma,
              T* grad_beta) {
  if (!batch_statistics)
    throw Unsupported(
        "batch_norm: cudnn's backward is of training alone, where the statistics are the batch's");
  const Layouts<T> layouts(p);
  const LockedContext context;
  const cudnnHandle_t handle = context->cudnn();
  const Affine<T> affine(p, gamma, beta);
  const Rectified<T> x(p, input);
  // The same call as in forward(), on the same values, gives the same bits: relu_after's gate is that one's.
  const GradientBeforeEpilogue<T> gradient(p, grad_output, [&](T* result) {
    check(cudnn_library().cudnnBatchNormalizationForwardTraining(
              handle, mode, &one<T>, &zero<T>, layouts.activations.get(), x.data(), layouts.activations.get(),
              result, layouts.channels.get(), affine.gamma(), affine.beta(), 0, nullptr, nullptr, p.epsilon,
              nullptr, nullptr),
          "cudnnBatchNormalizationForwardTraining");
  });
  // In front of relu_before's gate cuDNN's result is not the one that is wanted yet.
  const OptionalOutput<T> grad_x(p.relu_before ? nullptr : grad_input, count_of(p));
  const OptionalOutput<T> gamma_gradient(grad_gamma, p.channels), beta_gradient(grad_beta, p.channels);
  check(cudnn_library().cudnnBatchNormalizationBackward(
            handle, mode, &one<T>, &zero<T>, &one<T>, &zero<T>, layouts.activations.get(), x.data(),
            layouts.activations.get(), gradient.data(), layouts.activations.get(), grad_x.data(),
            layouts.channels.get(), affine.gamma(), gamma_gradient.data(), beta_gradient.data(), p.epsilon,
            mean, inv_std),
        "cudnnBatchNormalizationBackward");
  if (p.relu_before && grad_input)
    cuda::tables<ElementwiseKernels>().of<T>()->unary_backward(Relu(), count_of(p), x.data(), grad_x.data(),
                                                               grad_input);
}

template <class T>
constexpr BatchNormKernels<T> batch_norm{plain<forward_training<T>>, plain<forward_inference<T>>,
                                         plain<backward<T>>};

}  // namespace

template <>
Tables<BatchNormKernels> tables() {
  return {&batch_norm<float>, &batch_norm<double>};
}

}  // namespace kg::kernels::cudnn
