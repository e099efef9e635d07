// SPDX-License-Identifier: MIT
#include "ops/labels.h"

#include "core/tensor_impl.h"
#include "ops/check.h"

namespace kg {

Tensor checked_labels(std::string_view op, std::string_view name, const Tensor& scores,
                      const Tensor& labels) {
  const check::Argument x{op, name, scores}, y{op, "labels", labels};
  check::is_floating(x);
  check::has_rank(x, 2, "[n, classes]");
  if (scores.size(0) < 1) throw Error(x.described() + ", expected at least one row");
  if (!labels.defined() || is_floating_point(labels.dtype()))
    throw Error(y.described() + ", expected integers");
  check::has_shape(y, {scores.size(0)}, "[n]");
  if (labels.device() != scores.device())
    throw Error(y.described() + ", expected " + scores.device().name() + " as " + std::string(name));
  const Tensor result = labels.to(DType::int64);
  if (!result.device().is_cpu()) return result;
  const std::int64_t classes = scores.size(1);
  for (const std::int64_t label : result.span<std::int64_t>())
    if (label < 0 || label >= classes)
      check::fail(op, "label " + std::to_string(label) + ", expected 0 to " + std::to_string(classes - 1));
  return result;
}

}  // namespace kg
