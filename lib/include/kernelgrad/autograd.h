// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kernelgrad/export.h"
#include "kernelgrad/tensor.h"

namespace KG_API kg {

/// While one of these lives, operations on its thread record no graph: for inference and for updating
/// parameters.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};

/// False inside the scope of a NoGrad.
bool grad_is_enabled();

/// What a backward rule is called with.
struct BackwardCall {
  /// The name that the operation was recorded under, for error messages.
  std::string_view operation;
  /// Gradient of the loss with respect to the operation's output, of the output's shape and dtype.
  const Tensor& grad_output;
  /// needs[i]: whether the gradient with respect to input i is wanted. The rule may leave the others
  /// undefined.
  const std::vector<bool>& needs;
};

/// Returns one gradient per input, in order, each of its input's shape and dtype, or undefined where it was
/// not wanted.
using BackwardRule = std::function<std::vector<Tensor>(const BackwardCall&)>;

/// A tensor that a backward rule needs as it was in forward. It keeps the elements, but not the graph that
/// the tensor is part of, nor the tensor itself: one that has been given other elements since (set_data,
/// nn::Module::to) changes nothing. Elements that have been overwritten are an error.
class SavedTensor {
 public:
  /// Saves nothing: for an undefined tensor, and for what no gradient that is wanted needs.
  SavedTensor() = default;
  /// `argument` is what error messages call it: "weight".
  SavedTensor(const Tensor& tensor, std::string argument);

  bool defined() const { return tensor_.defined(); }
  /// Of the tensor that was saved. Throw Error if none was.
  const Shape& shape() const { return tensor_.shape(); }
  TensorOptions options() const { return {.dtype = tensor_.dtype(), .device = tensor_.device()}; }

  /// The tensor, outside the graph; undefined if none was saved. Throws Error, with the names of operation
  /// and argument and both versions, if the elements have been overwritten since they were saved.
  Tensor unpack(const BackwardCall& call) const;

 private:
  Tensor tensor_;
  std::string argument_;
  std::uint64_t version_ = 0;
};

/// Makes `output` the result of a differentiable operation on `inputs` and returns it. This is how every
/// operation of the library, and any operation of a user's own, enters the graph:
///
///     kg::Tensor square(const kg::Tensor& x) {
///       kg::Tensor y = ...;  // compute the elements
///       const auto rule = [saved = kg::SavedTensor(x, "x")](const kg::BackwardCall& call) {
///         const kg::Tensor x = saved.unpack(call);  // throws if x has been overwritten since
///         return std::vector<kg::Tensor>{...};      // 2 * x * call.grad_output
///       };
///       return kg::record("square", y, {x}, rule);
///     }
///
/// The rule keeps what it captures until the graph is freed: capture what the gradient needs and nothing
/// else. What it captures as a SavedTensor, which may be of an input or of `output`, is checked; a Tensor
/// that it captures is not, and has whatever elements it has by then. It must not capture `output` itself (a
/// cycle that nothing frees). Undefined inputs are allowed (optional arguments). Throws Error on an empty
/// rule. Where no input requires a gradient, or under NoGrad, the rule is dropped at once.
Tensor record(std::string name, Tensor output, const std::vector<Tensor>& inputs, BackwardRule rule);

struct GradcheckOptions {
  /// How far differences reach to either side of an entry x; where |x| is more than 1000, |x| / 1000 times as
  /// far.
  double epsilon = 1e-4;
  /// Largest permitted deviation of a derivative in proportion to that derivative, beyond what rounding
  /// leaves (PyTorch's rtol; there is no atol, which would let small derivatives be anything).
  double tolerance = 1e-6;
};

struct GradcheckResult {
  bool passed = true;
  /// Largest deviation found, in proportion to the derivative by differences and beyond what rounding leaves:
  /// at most the tolerance if it passed, infinite for NaN and where 0 was expected.
  double error = 0;
  /// What deviates most, and where: "input 1 [2, 0]: backward gives 0.5, differences give 0.25 +- 1e-11 for
  /// output [2]".
  std::string message;
};

/// Compares the gradients that backward() computes with differences, for every input that requires a
/// gradient: the derivative of each element of the output with respect to each entry of the input, by itself,
/// so that neither a large entry nor a large element hides a small one. Passes where
///
///     |analytic - numeric| <= tolerance |numeric| + noise,
///
/// noise being what rounding of the output's element y leaves in the difference quotient: with eps of
/// float64, 3 eps (|y| + sum over all entries x of |x dy/dx|) / epsilon. The quotient is of fourth order, so
/// that its own error is smaller than that. NaN never passes.
///
/// `function` must be deterministic and smooth within epsilon of the inputs: where it has a kink in between
/// (relu near 0, equal values in max_pool2d) a right gradient may be refused. Inputs must be float64, and
/// small: each entry costs two to four calls of the function, each element of the output a backward pass.
/// Throws Error on float32 inputs and where none requires a gradient.
GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& function,
                          const std::vector<Tensor>& inputs, GradcheckOptions options = {});

}  // namespace kg
