// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernelgrad/export.h"
#include "kernelgrad/ops.h"
#include "kernelgrad/state_dict.h"
#include "kernelgrad/tensor.h"

namespace KG_API kg {
namespace nn {

struct LoadOptions {
  bool strict = true;  ///< Names that are missing or unexpected are an error; otherwise they are listed.
  /// Names that the state has beside its tensors, and why there is no tensor: Checkpoint::unreadable.
  std::map<std::string, std::string> unreadable = {};
};

/// What load_state_dict() did not load, as PyTorch's does.
struct LoadResult {
  std::vector<std::string> missing_keys;     ///< The module has them, the state has not.
  std::vector<std::string> unexpected_keys;  ///< The state has them, under these names, the module has not.
  std::string stripped_prefix;               ///< Taken off every name of the state: "module."
};

/// A piece of a network: parameters (learned), buffers (kept but not learned), child modules, and a forward
/// computation.
///
/// To write one's own, derive, register the tensors in the constructor, and define forward() and type_name().
/// A module is a handle like Tensor: copies share parameters, buffers, children, and whether they train. What
/// a derived class keeps beside them is copied as C++ copies it.
class Module {
 public:
  Module();
  Module(const Module&) = default;
  /// From now on shares what `other` has. Throws Error if the module is a part of `other`.
  Module& operator=(const Module& other);
  virtual ~Module() = default;

  /// What the module computes. Called by operator(), which is what to call.
  virtual Tensor forward(const Tensor& input) = 0;
  /// forward(), reported to the innermost ForwardHook. An Error thrown inside begins with the module at
  /// fault: its names from the outermost module called on, and its type, as in "2.1 BatchNorm2d: batch_norm:
  /// ...". One that its caller has not registered as a child has no name, one with several goes by the first.
  /// Other exceptions, classes derived from Error included, pass unchanged.
  Tensor operator()(const Tensor& input);
  /// What the module is called in a summary: "Conv2d".
  virtual std::string_view type_name() const = 0;

  /// Learned tensors of this module and its children under dotted names, in the order of registration:
  /// "0.weight". One that several modules share is there once, under its first name.
  std::vector<NamedTensor> named_parameters() const;
  /// The same without the names.
  std::vector<Tensor> parameters() const;
  /// Number of learned values.
  std::int64_t parameter_count() const;
  /// Parameters and buffers under the names that PyTorch gives them. The tensors are the module's own, not
  /// copies.
  StateDict state_dict() const;
  /// Copies the tensors into the module's own, converted to their dtype and device.
  ///
  /// Floating-point numbers are rounded to the module's dtype; integers are taken from any dtype whose values
  /// they can hold. A num_batches_tracked that is missing keeps its value, [1] stands for [], as in PyTorch.
  /// A prefix up to a dot that all names share is taken off where no name fits with it and some do without:
  /// "module.", "_orig_mod.", "model." of wrappers. Throws one Error that lists everything that does not fit,
  /// with the module unchanged: names that are given twice, missing or unexpected ones (if `strict`), shapes
  /// that differ, and numbers that the module's dtype cannot hold.
  LoadResult load_state_dict(const StateDict& state, const LoadOptions& options = {});

  /// Switches this module and its children between training (the default: batch statistics, active dropout)
  /// and inference.
  void train(bool training = true);
  void eval() { train(false); }
  bool is_training() const { return state_->training; }

  /// Moves the parameters and buffers of this module and its children; handles to them follow. Gradients are
  /// dropped.
  void to(Device device);
  /// Converts the floating-point parameters and buffers likewise. Throws Error unless `dtype` is one of
  /// those.
  void to(DType dtype);

  /// The modules that this one consists of, with the names that its tensors have before their own.
  const std::vector<std::pair<std::string, std::shared_ptr<Module>>>& children() const {
    return state_->children;
  }

 protected:
  // A name may be registered once, must not be empty, and must not contain a '.': Error otherwise.

  /// Registers a learned tensor and returns it, requiring a gradient. An undefined one has no place in
  /// state_dict() (no bias). Throws Error also if it is not floating-point, or the result of an operation.
  Tensor register_parameter(std::string name, Tensor parameter);
  /// Registers a tensor that is kept and saved, but not learned, and returns it. An undefined one as above.
  Tensor register_buffer(std::string name, Tensor buffer);
  /// Registers a module whose tensors are this one's too, as "name.weight". Throws Error also if it is null,
  /// or is or contains this module.
  void register_child(std::string name, std::shared_ptr<Module> child);
  /// Returns body(), with its Errors named as those of forward(): for what a module offers beside that.
  Tensor named(const std::function<Tensor()>& body) const;

 private:
  struct Slot {
    std::string name;
    Tensor tensor;
    bool learned;
  };
  /// What copies of a module share.
  struct State {
    std::vector<Slot> slots = {};
    std::vector<std::pair<std::string, std::shared_ptr<Module>>> children = {};
    bool training = true;
  };
  using Path = std::optional<std::string>;

  void collect(const std::string& prefix, bool learned_only, StateDict& into) const;
  void check_name(const char* function, const std::string& name) const;
  template <class Matches>
  Path path_to(const Matches& matches) const;
  Path name_of_child(const Module& child) const;

  std::shared_ptr<State> state_;
};

/// While one of these lives, every module called on its thread reports its output, children before their
/// parents. Sequential then runs its modules one by one instead of fusing neighbours.
class ForwardHook {
 public:
  using Callback = std::function<void(const Module& module, const Tensor& output)>;
  /// Throws Error on an empty callback.
  explicit ForwardHook(Callback callback);
  ~ForwardHook();
  ForwardHook(const ForwardHook&) = delete;
  ForwardHook& operator=(const ForwardHook&) = delete;

  /// The innermost hook of this thread, nullptr if there is none.
  static const ForwardHook* active();
  void report(const Module& module, const Tensor& output) const { callback_(module, output); }

 private:
  Callback callback_;
  const ForwardHook* previous_;
};

/// Runs modules one after the other, named "0", "1", ... as PyTorch names them. A run of [ReLU] BatchNorm2d
/// [ReLU] [Dropout] is computed by one call of kg::batch_norm, in one pass over memory: same result, same
/// random draws.
class Sequential : public Module {
 public:
  template <class... Modules>
  requires(std::is_base_of_v<Module, Modules>&&...) Sequential(Modules... modules)
  try {
    (append(std::make_shared<Modules>(std::move(modules))), ...);
  } catch (const std::bad_alloc&) {
    no_memory("Sequential");
  }
  /// A copy is a Sequential that shares its modules, not one that contains the other.
  Sequential(const Sequential&) = default;
  Sequential(Sequential&&) = default;
  Sequential(Sequential& other) : Sequential(std::as_const(other)) {}
  Sequential& operator=(const Sequential&) = default;
  Sequential& operator=(Sequential&&) = default;

  /// Adds a module at the end, under the next number. Throws Error if it is null, or is or contains this
  /// Sequential or a copy of it.
  void append(std::shared_ptr<Module> module);

  Tensor forward(const Tensor& input) override;
  std::string_view type_name() const override { return "Sequential"; }
};

using kg::Conv2dOptions;

/// kg::conv2d with a weight [out_channels, in_channels / groups, k_h, k_w] and a bias [out_channels], both
/// drawn uniformly from +-1 / sqrt(fan_in), fan_in = in_channels / groups * k_h * k_w, as PyTorch's Conv2d
/// draws them. Throws Error on channels or a kernel below 1, groups that do not divide the channels, and
/// options that kg::conv2d does not take.
class Conv2d : public Module {
 public:
  Conv2d(std::int64_t in_channels, std::int64_t out_channels, Pair kernel, const Conv2dOptions& options = {});
  Tensor forward(const Tensor& input) override;
  std::string_view type_name() const override { return "Conv2d"; }
  Pair kernel() const { return {weight_.size(2), weight_.size(3)}; }
  const Conv2dOptions& options() const { return options_; }

 private:
  Tensor weight_, bias_;
  Conv2dOptions options_;
};

struct LinearOptions {
  bool bias = true;
};

/// kg::linear with a weight [out_features, in_features] and a bias [out_features], both drawn uniformly from
/// +-1 / sqrt(in_features), as PyTorch's Linear draws them.
class Linear : public Module {
 public:
  Linear(std::int64_t in_features, std::int64_t out_features, const LinearOptions& options = {});
  Tensor forward(const Tensor& input) override;
  std::string_view type_name() const override { return "Linear"; }

 private:
  Tensor weight_, bias_;
};

struct BatchNorm2dOptions {
  double epsilon = 1e-5;
  double momentum = 0.1;
};

/// kg::batch_norm with learned weight (1 at first) and bias (0), and the buffers running_mean (0),
/// running_var (1) and num_batches_tracked. Training uses and records the batch's statistics, inference the
/// running ones. Throws Error on options that kg::batch_norm does not take.
class BatchNorm2d : public Module {
 public:
  explicit BatchNorm2d(std::int64_t channels, const BatchNorm2dOptions& options = {});
  Tensor forward(const Tensor& input) override { return normalized(input, {}); }
  std::string_view type_name() const override { return "BatchNorm2d"; }
  const BatchNorm2dOptions& options() const { return options_; }

  /// With element-wise neighbours in the same pass: relu_before, relu_after and dropout of the options. The
  /// others are the module's.
  Tensor forward_fused(const Tensor& input, const BatchNormOptions& neighbours);

 private:
  Tensor normalized(const Tensor& input, BatchNormOptions options);

  Tensor weight_, bias_, running_mean_, running_var_, num_batches_tracked_;
  BatchNorm2dOptions options_;
};

/// kg::relu.
class ReLU : public Module {
 public:
  Tensor forward(const Tensor& input) override { return relu(input); }
  std::string_view type_name() const override { return "ReLU"; }
};

/// kg::dropout with probability p in training, the identity otherwise.
class Dropout : public Module {
 public:
  explicit Dropout(double p = 0.5);
  Tensor forward(const Tensor& input) override { return is_training() ? dropout(input, p_) : input; }
  std::string_view type_name() const override { return "Dropout"; }
  double p() const { return p_; }

 private:
  double p_;
};

/// What MaxPool2d and AvgPool2d share.
class Pool2d : public Module {
 public:
  Pair kernel() const { return kernel_; }
  const PoolOptions& options() const { return options_; }

 protected:
  /// Throws Error on a kernel or options that pooling does not take, with the type's name.
  Pool2d(std::string_view type, Pair kernel, const PoolOptions& options);

 private:
  Pair kernel_;
  PoolOptions options_;
};

/// kg::max_pool2d. Throws Error on a kernel or options that it does not take.
class MaxPool2d : public Pool2d {
 public:
  explicit MaxPool2d(Pair kernel, const PoolOptions& options = {}) : Pool2d("MaxPool2d", kernel, options) {}
  Tensor forward(const Tensor& input) override { return max_pool2d(input, kernel(), options()); }
  std::string_view type_name() const override { return "MaxPool2d"; }
};

/// kg::avg_pool2d. Throws Error on a kernel or options that it does not take.
class AvgPool2d : public Pool2d {
 public:
  explicit AvgPool2d(Pair kernel, const PoolOptions& options = {}) : Pool2d("AvgPool2d", kernel, options) {}
  Tensor forward(const Tensor& input) override { return avg_pool2d(input, kernel(), options()); }
  std::string_view type_name() const override { return "AvgPool2d"; }
};

/// kg::global_avg_pool2d: PyTorch's AdaptiveAvgPool2d(1).
class GlobalAvgPool2d : public Module {
 public:
  Tensor forward(const Tensor& input) override { return global_avg_pool2d(input); }
  std::string_view type_name() const override { return "GlobalAvgPool2d"; }
};

/// Merges all dimensions but the first.
class Flatten : public Module {
 public:
  Tensor forward(const Tensor& input) override { return flatten(input, 1); }
  std::string_view type_name() const override { return "Flatten"; }
};

/// kg::log_softmax.
class LogSoftmax : public Module {
 public:
  Tensor forward(const Tensor& input) override { return log_softmax(input); }
  std::string_view type_name() const override { return "LogSoftmax"; }
};

/// A function called in the middle of a network, where PyTorch code would call it in forward() without a
/// module of its own. Throws Error on an empty function.
class Functional : public Module {
 public:
  explicit Functional(std::function<Tensor(const Tensor&)> function);
  Tensor forward(const Tensor& input) override { return function_(input); }
  std::string_view type_name() const override { return "Functional"; }
  /// True if it was made of that plain function: Functional(relu).calls(relu).
  bool calls(Tensor (*function)(const Tensor&)) const {
    const auto* const held = function_.target<Tensor (*)(const Tensor&)>();
    return held && *held == function;
  }

 private:
  std::function<Tensor(const Tensor&)> function_;
};

}  // namespace nn
}  // namespace kg
