// SPDX-License-Identifier: MIT
#include <algorithm>

#include "core/tensor_impl.h"
#include "kernelgrad/autograd.h"
#include "kernelgrad/ops.h"
#include "ops/check.h"

namespace kg {

namespace {

/// Replaces an extent of -1 by what is left for it.
Shape inferred(Shape wanted, const Tensor& input) {
  if (std::ranges::count(wanted, -1) > 1)
    check::fail("reshape", "shape " + to_string(wanted) + " has more than one -1");
  const auto unknown = std::ranges::find(wanted, -1);
  std::int64_t count = std::ranges::find(wanted, 0) == wanted.end() ? 1 : 0;
  bool fits = true;
  // Without elements it matters only whether there is a 0 among the extents.
  const bool counts = input.numel() > 0;
  for (const std::int64_t extent : wanted)
    if (extent != -1)
      fits = fits && extent >= 0 && (!counts || !__builtin_mul_overflow(count, extent, &count));
  if (fits && count == 0 && input.numel() == 0 && unknown != wanted.end())
    check::fail("reshape", "any -1 in shape " + to_string(wanted) + " would hold the 0 elements of " +
                               to_string(input.shape()) + "; give the extent");
  fits = fits && (unknown == wanted.end() ? count == input.numel() : count > 0 && input.numel() % count == 0);
  if (!fits)
    check::fail("reshape", "shape " + to_string(wanted) + " does not hold the " +
                               std::to_string(input.numel()) + " elements of " + to_string(input.shape()));
  if (unknown != wanted.end()) *unknown = input.numel() / count;
  return wanted;
}

}  // namespace

Tensor reshape(const Tensor& input, Shape shape) try {
  check::is_defined({"reshape", "input", input});
  return record("reshape", share_storage(input, inferred(std::move(shape), input)), {input},
                [original = input.shape()](const BackwardCall& call) -> std::vector<Tensor> {
                  return {share_storage(call.grad_output, original)};
                });
} catch (const std::bad_alloc&) {
  no_memory("reshape");
}

Tensor Tensor::reshape(Shape shape) const { return kg::reshape(*this, std::move(shape)); }

Tensor flatten(const Tensor& input, int start_dim) try {
  check::is_defined({"flatten", "input", input});
  const int rank = std::max(input.dim(), 1);
  const int start = start_dim < 0 ? start_dim + rank : start_dim;
  if (start < 0 || start >= rank)
    check::fail("flatten", "there is no dimension start_dim = " + std::to_string(start_dim) + " in shape " +
                               to_string(input.shape()));
  Shape shape(input.shape().begin(), input.shape().begin() + start);
  shape.push_back(checked_numel("flatten", Shape(input.shape().begin() + start, input.shape().end())));
  return reshape(input, std::move(shape));
} catch (const std::bad_alloc&) {
  no_memory("flatten");
}

}  // namespace kg
