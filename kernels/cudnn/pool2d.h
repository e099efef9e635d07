// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "kernelgrad/device_array.h"
#include "kernels/cudnn/context.h"
#include "kernels/cudnn/descriptors.h"

/// What max_pool2d, avg_pool2d and global_avg_pool2d share.
namespace kg::kernels::cudnn {

/// To cuDNN planes are images times channels, of each of which it was seen to refuse more than 65,535
/// (microsoft/onnxruntime issue 29819). Real ones are mostly multiples of powers of two.
inline ArrayShape images_of(std::int64_t planes, std::int64_t h, std::int64_t w) {
  ArrayShape shape{.n = 1, .c = planes, .h = h, .w = w};
  for (; shape.c > 65535 && shape.c % 2 == 0; shape.c /= 2) shape.n *= 2;
  return shape;
}

/// The descriptions of a pooling problem.
class Pooling {
 public:
  /// `op` is the operation's name.
  Pooling(const std::string& op, const Pool2dProblem& p, cudnnPoolingMode_t mode, cudnnDataType_t type)
      : window_(op, p, mode),
        input_(op + ": input", type, images_of(p.planes, p.h, p.w)),
        output_(op + ": output", type, images_of(p.planes, p.out_h(), p.out_w())),
        input_count_(p.planes * p.h * p.w) {}

  template <class T>
  void forward(const T* input, T* output) const {
    const LockedContext context;
    check(cudnn_library().cudnnPoolingForward(context->cudnn(), window_.get(), &one<T>, input_.get(), input,
                                              &zero<T>, output_.get(), output),
          "cudnnPoolingForward");
  }

  template <class T>
  void backward(const T* input, const T* output, const T* grad_output, T* grad_input) const {
    const LockedContext context;
    check(cudnn_library().cudnnPoolingBackward(context->cudnn(), window_.get(), &one<T>, output_.get(),
                                               output, output_.get(), grad_output, input_.get(), input,
                                               &zero<T>, input_.get(), grad_input),
          "cudnnPoolingBackward");
  }

  /// Of averages, whose gradient does not depend on the input and the output. cuDNN wants arrays of their
  /// shapes all the same: the input's is memory that nobody reads or writes.
  template <class T>
  void backward_of_average(const T* grad_output, T* grad_input) const {
    DeviceArray<T> input(input_count_);
    backward<T>(input.data(), grad_output, grad_output, grad_input);
  }

 private:
  PoolingDescriptor window_;
  TensorDescriptor input_, output_;
  std::int64_t input_count_;
};

}  // namespace kg::kernels::cudnn
