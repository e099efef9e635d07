// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "kernelgrad/ops.h"
#include "kernels/conv2d.h"
#include "kernels/pool2d_problem.h"

/// What every operation checks about its arguments before it computes anything.
namespace kg::check {

/// A tensor argument under the name that error messages call it by.
struct Argument {
  std::string_view op, name;
  const Tensor& tensor;

  /// "conv2d: input is float32 [1, 2]": the start of a message about this argument.
  std::string described() const;
};

void is_defined(const Argument& argument);
/// Defined and float32 or float64.
void is_floating(const Argument& argument);
/// Of the same dtype and on the same device as the first argument of the operation.
void matches(const Argument& argument, const Argument& first);
/// Has that many dimensions; `meaning` explains them: "[n, c, h, w]".
void has_rank(const Argument& argument, int rank, std::string_view meaning);
/// Has exactly that shape; `meaning` explains where the expectation comes from.
void has_shape(const Argument& argument, const Shape& expected, std::string_view meaning);

/// Of an [n, c, h, w] tensor: 1 to 2^60 rows and columns: without images those could be more than can be
/// added to.
void has_images(const Argument& argument);

/// Between `smallest` and 2^30: with larger strides or paddings output sizes could not be computed in 64
/// bits.
void is_sensible(std::string_view op, std::string_view option, std::int64_t value, std::int64_t smallest);
void both_sensible(std::string_view op, std::string_view option, Pair value, std::int64_t smallest);
/// A probability.
void is_probability(std::string_view op, std::string_view option, double value);

/// What can be said of an operation's options without its tensors.
void options(std::string_view op, const Conv2dOptions& options);
void options(std::string_view op, const BatchNormOptions& options);
void options(std::string_view op, Pair kernel, const PoolOptions& options);

/// The labels of a loss as int64, checked to be integers [n] on the device of `scores`, which are checked to
/// be [n, classes] with n > 0 and go by the name `name` in messages. Throws Error also on a label outside [0,
/// classes) if they are on the CPU: to look at those on another device would mean waiting for it.
Tensor labels(std::string_view op, std::string_view name, const Tensor& scores, const Tensor& labels);

/// The problem of a pooling operation.
kernels::Pool2dProblem pooling(std::string_view op, const Tensor& input, Pair kernel,
                               const PoolOptions& options);

/// Convolution's kernels copy an image with its padding, sorted by remainder modulo the strides. Throws Error
/// where that is more than memory can hold: the number of bytes could not be computed in 64 bits.
void padded_size(std::string_view op, const kernels::Conv2dProblem& problem);

[[noreturn]] void fail(std::string_view op, const std::string& what);

}  // namespace kg::check
