#include "backend/kernels.h"

namespace kg::backend {

namespace {

using namespace kernels;

template <class T>
struct AvgPool2d {
  using Table = AvgPool2dKernels<T>;

  static Function<Table> function(std::string_view name) {
    return {Operation::avg_pool2d, name, dtype_of<T>(), cuda::avg_pool2d<T>, cudnn::avg_pool2d<T>};
  }
  static std::string text(const Pool2dProblem& p, bool count_include_pad) {
    return describe(p) + (count_include_pad ? "" : ", padding not counted");
  }

  static void forward(const Pool2dProblem& p, bool count_include_pad, const T* input, T* output,
                      Stream stream) {
    choose(
        function("forward"), [&] { return text(p, count_include_pad); },
        [&](const Table& table) { table.forward(p, count_include_pad, input, output, stream); });
  }
  static void backward(const Pool2dProblem& p, bool count_include_pad, const T* grad_output, T* grad_input,
                       Stream stream) {
    choose(
        function("backward"), [&] { return text(p, count_include_pad); },
        [&](const Table& table) { table.backward(p, count_include_pad, grad_output, grad_input, stream); });
  }
};

template <class T>
struct BatchNorm {
  using Table = BatchNormKernels<T>;

  static Function<Table> function(std::string_view name) {
    return {Operation::batch_norm, name, dtype_of<T>(), cuda::batch_norm<T>, cudnn::batch_norm<T>};
  }
  static std::string text(const BatchNormProblem& p, const T* gamma) {
    return describe(p) + (gamma ? "" : ", no gamma");
  }

  static void forward_training(const BatchNormProblem& p, const T* input, const T* gamma, const T* beta,
                               double momentum, T* running_mean, T* running_var,
                               std::int64_t* num_batches_tracked, T* mean, T* inv_std, T* output,
                               Stream stream) {
    const auto with = [&](T* to_mean, T* to_var, std::int64_t* to_count) {
      return [=, &p](const Table& table) {
        table.forward_training(p, input, gamma, beta, momentum, to_mean, to_var, to_count, mean, inv_std,
                               output, stream);
      };
    };
    // Rehearsals must not move the running statistics, of which there are a few numbers per channel.
    choose(
        function("forward_training"), [&] { return text(p, gamma); },
        with(running_mean, running_var, num_batches_tracked), with(nullptr, nullptr, nullptr));
  }
  static void forward_inference(const BatchNormProblem& p, const T* input, const T* gamma, const T* beta,
                                const T* mean, const T* var, T* inv_std, T* output, Stream stream) {
    choose(
        function("forward_inference"), [&] { return text(p, gamma); },
        [&](const Table& table) {
          table.forward_inference(p, input, gamma, beta, mean, var, inv_std, output, stream);
        });
  }
  static void backward(const BatchNormProblem& p, bool batch_statistics, const T* input, const T* grad_output,
                       const T* gamma, const T* beta, const T* mean, const T* inv_std, T* grad_input,
                       T* grad_gamma, T* grad_beta, Stream stream) {
    choose(
        function("backward"),
        [&] {
          return text(p, gamma) + (batch_statistics ? "" : ", given statistics") +
                 (grad_input ? "" : ", no grad_input") + (gamma && !grad_gamma ? ", no grad_gamma" : "");
        },
        [&](const Table& table) {
          table.backward(p, batch_statistics, input, grad_output, gamma, beta, mean, inv_std, grad_input,
                         grad_gamma, grad_beta, stream);
        });
  }
};

template <class T>
struct Conv2d {
  using Table = Conv2dKernels<T>;

  static Function<Table> function(std::string_view name) {
    return {Operation::conv2d, name, dtype_of<T>(), cuda::conv2d<T>, cudnn::conv2d<T>};
  }

  static void forward(const Conv2dProblem& p, const T* input, const T* weight, const T* bias, T* output,
                      Stream stream) {
    choose(
        function("forward"), [&] { return describe(p) + (bias ? ", bias" : ""); },
        [&](const Table& table) { table.forward(p, input, weight, bias, output, stream); });
  }
  static void backward_input(const Conv2dProblem& p, const T* grad_output, const T* weight, T* grad_input,
                             Stream stream) {
    choose(
        function("backward_input"), [&] { return describe(p); },
        [&](const Table& table) { table.backward_input(p, grad_output, weight, grad_input, stream); });
  }
  static void backward_weight(const Conv2dProblem& p, const T* input, const T* grad_output, T* grad_weight,
                              Stream stream) {
    choose(
        function("backward_weight"), [&] { return describe(p); },
        [&](const Table& table) { table.backward_weight(p, input, grad_output, grad_weight, stream); });
  }
  static void backward_bias(const Conv2dProblem& p, const T* grad_output, T* grad_bias, Stream stream) {
    choose(
        function("backward_bias"), [&] { return describe(p); },
        [&](const Table& table) { table.backward_bias(p, grad_output, grad_bias, stream); });
  }
};

template <class T>
struct GlobalAvgPool2d {
  using Table = GlobalAvgPool2dKernels<T>;

  static Function<Table> function(std::string_view name) {
    return {Operation::global_avg_pool2d, name, dtype_of<T>(), cuda::global_avg_pool2d<T>,
            cudnn::global_avg_pool2d<T>};
  }
  static std::string text(std::int64_t planes, std::int64_t plane) {
    return std::to_string(planes) + " planes of " + std::to_string(plane);
  }

  static void forward(std::int64_t planes, std::int64_t plane, const T* input, T* output, Stream stream) {
    choose(
        function("forward"), [&] { return text(planes, plane); },
        [&](const Table& table) { table.forward(planes, plane, input, output, stream); });
  }
  static void backward(std::int64_t planes, std::int64_t plane, const T* grad_output, T* grad_input,
                       Stream stream) {
    choose(
        function("backward"), [&] { return text(planes, plane); },
        [&](const Table& table) { table.backward(planes, plane, grad_output, grad_input, stream); });
  }
};

template <class T>
struct Linear {
  using Table = LinearKernels<T>;

  static Function<Table> function(std::string_view name) {
    return {Operation::linear, name, dtype_of<T>(), cuda::linear<T>, cudnn::linear<T>};
  }

  static void forward(const LinearProblem& p, const T* input, const T* weight, const T* bias, T* output,
                      Stream stream) {
    choose(
        function("forward"), [&] { return describe(p) + (bias ? ", bias" : ""); },
        [&](const Table& table) { table.forward(p, input, weight, bias, output, stream); });
  }
  static void backward_input(const LinearProblem& p, const T* grad_output, const T* weight, T* grad_input,
                             Stream stream) {
    choose(
        function("backward_input"), [&] { return describe(p); },
        [&](const Table& table) { table.backward_input(p, grad_output, weight, grad_input, stream); });
  }
  static void backward_weight(const LinearProblem& p, const T* input, const T* grad_output, T* grad_weight,
                              Stream stream) {
    choose(
        function("backward_weight"), [&] { return describe(p); },
        [&](const Table& table) { table.backward_weight(p, input, grad_output, grad_weight, stream); });
  }
  static void backward_bias(const LinearProblem& p, const T* grad_output, T* grad_bias, Stream stream) {
    choose(
        function("backward_bias"), [&] { return describe(p); },
        [&](const Table& table) { table.backward_bias(p, grad_output, grad_bias, stream); });
  }
};

template <class T>
struct LogSoftmax {
  using Table = LogSoftmaxKernels<T>;

  static Function<Table> function(std::string_view name) {
    return {Operation::log_softmax, name, dtype_of<T>(), cuda::log_softmax<T>, cudnn::log_softmax<T>};
  }
  static std::string text(std::int64_t rows, std::int64_t classes) {
    return std::to_string(rows) + " rows of " + std::to_string(classes);
  }

  static void forward(std::int64_t rows, std::int64_t classes, const T* input, T* output, Stream stream) {
    choose(
        function("forward"), [&] { return text(rows, classes); },
        [&](const Table& table) { table.forward(rows, classes, input, output, stream); });
  }
  static void backward(std::int64_t rows, std::int64_t classes, const T* output, const T* grad_output,
                       T* grad_input, Stream stream) {
    choose(
        function("backward"), [&] { return text(rows, classes); },
        [&](const Table& table) { table.backward(rows, classes, output, grad_output, grad_input, stream); });
  }
};

}  // namespace

template <class T>
const AvgPool2dKernels<T>& avg_pool2d() {
  static constexpr AvgPool2dKernels<T> kernels{AvgPool2d<T>::forward, AvgPool2d<T>::backward};
  return kernels;
}

template <class T>
const BatchNormKernels<T>& batch_norm() {
  static constexpr BatchNormKernels<T> kernels{BatchNorm<T>::forward_training,
                                               BatchNorm<T>::forward_inference, BatchNorm<T>::backward};
  return kernels;
}

template <class T>
const Conv2dKernels<T>& conv2d() {
  static constexpr Conv2dKernels<T> kernels{Conv2d<T>::forward, Conv2d<T>::backward_input,
                                            Conv2d<T>::backward_weight, Conv2d<T>::backward_bias};
  return kernels;
}

template <class T>
const GlobalAvgPool2dKernels<T>& global_avg_pool2d() {
  static constexpr GlobalAvgPool2dKernels<T> kernels{GlobalAvgPool2d<T>::forward,
                                                     GlobalAvgPool2d<T>::backward};
  return kernels;
}

template <class T>
const LinearKernels<T>& linear() {
  static constexpr LinearKernels<T> kernels{Linear<T>::forward, Linear<T>::backward_input,
                                            Linear<T>::backward_weight, Linear<T>::backward_bias};
  return kernels;
}

template <class T>
const LogSoftmaxKernels<T>& log_softmax() {
  static constexpr LogSoftmaxKernels<T> kernels{LogSoftmax<T>::forward, LogSoftmax<T>::backward};
  return kernels;
}

#define KG_INSTANTIATE(Kernels, op)           \
  template const Kernels<float>& op<float>(); \
  template const Kernels<double>& op<double>();

KG_INSTANTIATE(AvgPool2dKernels, avg_pool2d)
KG_INSTANTIATE(BatchNormKernels, batch_norm)
KG_INSTANTIATE(Conv2dKernels, conv2d)
KG_INSTANTIATE(GlobalAvgPool2dKernels, global_avg_pool2d)
KG_INSTANTIATE(LinearKernels, linear)
KG_INSTANTIATE(LogSoftmaxKernels, log_softmax)

}  // namespace kg::backend
