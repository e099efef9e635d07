// SPDX-License-Identifier: MIT
#include "kernels/cpu/elementwise_blocks.h"

#include <utility>
#include <variant>

namespace kg::kernels::cpu {

namespace {

/// Images to which a function has yet to be applied.
template <class T>
class Mapped final : public Blocks<T> {
 public:
  Mapped(const UnaryFunction& function, std::shared_ptr<const StoredBlocks<T>> input)
      : Blocks<T>(input->images(), input->channels(), input->plane()),
        function_(function),
        input_(std::move(input)) {}

  const std::shared_ptr<const StoredBlocks<T>>& input() const { return input_; }

  const T* block(std::int64_t index, T* scratch) const override {
    const T* input = input_->block(index);
    const std::int64_t size = this->block_size();
    const auto apply = [=](const auto function) {
      for (std::int64_t i = 0; i < size; ++i) scratch[i] = function(input[i]);
    };
    std::visit(apply, function_);
    this->clear_missing(index, scratch);
    return scratch;
  }

 private:
  UnaryFunction function_;
  std::shared_ptr<const StoredBlocks<T>> input_;
};

/// The gradient of the images in front of a function, which has yet to be computed.
template <class T>
class GradientOfMapped final : public Blocks<T> {
 public:
  /// `saved` is what the function's gradient() goes by, or, if `is_input`, what that can be computed from.
  GradientOfMapped(const UnaryFunction& function, std::shared_ptr<const StoredBlocks<T>> saved, bool is_input,
                   std::shared_ptr<const StoredBlocks<T>> gradient)
      : Blocks<T>(saved->images(), saved->channels(), saved->plane()),
        function_(function),
        saved_(std::move(saved)),
        is_input_(is_input),
        gradient_(std::move(gradient)) {}

  const T* block(std::int64_t index, T* scratch) const override {
    const T *saved = saved_->block(index), *gradient = gradient_->block(index);
    const std::int64_t size = this->block_size();
    const bool from_input = is_input_;
    const auto apply = [=](const auto function) {
      if (from_input)
        for (std::int64_t i = 0; i < size; ++i) {
          const T g = gradient[i];  // read whatever the function does, or GCC makes no vectors of it
          scratch[i] = function.gradient(g, function(saved[i]));
        }
      else
        for (std::int64_t i = 0; i < size; ++i) scratch[i] = function.gradient(gradient[i], saved[i]);
    };
    std::visit(apply, function_);
    this->clear_missing(index, scratch);
    return scratch;
  }

 private:
  UnaryFunction function_;
  std::shared_ptr<const StoredBlocks<T>> saved_;
  bool is_input_;
  std::shared_ptr<const StoredBlocks<T>> gradient_;
};

}  // namespace

template <class T>
void unary_of_blocks(const UnaryFunction& function, const std::shared_ptr<const Blocks<T>>& input,
                     Output<T> output) {
  const std::shared_ptr<const Blocks<T>> pending = std::make_shared<Mapped<T>>(function, stored(input));
  // It is computed again wherever it is read. That pays for relu, not for what takes exponentials.
  output.keep(std::holds_alternative<Relu>(function) ? pending : stored(pending));
}
template void unary_of_blocks(const UnaryFunction&, const std::shared_ptr<const Blocks<float>>&,
                              Output<float>);
template void unary_of_blocks(const UnaryFunction&, const std::shared_ptr<const Blocks<double>>&,
                              Output<double>);

template <class T>
bool unary_backward_of_blocks(const UnaryFunction& function, std::int64_t count, Input<T> saved_array,
                              Input<T> grad_output, Output<T> grad_input) {
  const auto saved = saved_array.template form<Blocks<T>>();
  if (!saved || saved->images() * saved->count() != count) return false;
  const auto mapped = std::dynamic_pointer_cast<const Mapped<T>>(saved);
  const bool is_input =
      mapped && std::visit([](const auto& f) { return f.saves == Saves::output; }, function);
  grad_input.keep(std::make_shared<GradientOfMapped<T>>(
      function, is_input ? mapped->input() : stored(saved), is_input,
      stored(blocks_of(grad_output, saved->images(), saved->channels(), saved->plane()))));
  return true;
}
template bool unary_backward_of_blocks(const UnaryFunction&, std::int64_t, Input<float>, Input<float>,
                                       Output<float>);
template bool unary_backward_of_blocks(const UnaryFunction&, std::int64_t, Input<double>, Input<double>,
                                       Output<double>);

}  // namespace kg::kernels::cpu
