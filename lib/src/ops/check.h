// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

#include "kernelgrad/ops.h"

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

[[noreturn]] void fail(std::string_view op, const std::string& what);

}  // namespace kg::check
