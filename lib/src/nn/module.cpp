// SPDX-License-Identifier: MIT
#include <algorithm>
#include <set>
#include <typeinfo>

#include "kernelgrad/nn.h"

namespace kg::nn {

namespace {

thread_local const ForwardHook* active_hook = nullptr;
thread_local const Module* running = nullptr;

/// Makes a module the one that runs on this thread, for a scope.
class RunningModule {
 public:
  explicit RunningModule(const Module& module) : caller(std::exchange(running, &module)) {}
  ~RunningModule() { running = caller; }
  RunningModule(const RunningModule&) = delete;
  RunningModule& operator=(const RunningModule&) = delete;

  const Module* const caller;
};

/// An error on its way from the module at fault to the outermost one: each adds its name to the path.
class LayerError : public Error {
 public:
  LayerError(const std::string& path, const std::string& what)
      : Error(path.empty() ? what : path + " " + what), path(path), without_path(what) {}

  const std::string path, without_path;
};

}  // namespace

ForwardHook::ForwardHook(Callback callback) : callback_(std::move(callback)), previous_(active_hook) {
  if (!callback_) throw Error("ForwardHook: the callback is empty");
  active_hook = this;
}
ForwardHook::~ForwardHook() { active_hook = previous_; }
const ForwardHook* ForwardHook::active() { return active_hook; }

Module::Module() try : state_(std::make_shared<State>()) {
} catch (const std::bad_alloc&) {
  no_memory("Module");
}

Module& Module::operator=(const Module& other) {
  if (this == &other) return *this;
  if (const Path path = other.path_to([this](const Module& part) { return &part == this; }))
    throw Error("Module: the module assigned has this one as its part \"" + *path + "\"");
  state_ = other.state_;
  return *this;
}

Tensor Module::operator()(const Tensor& input) try {
  return named([&] {
    Tensor output = forward(input);
    if (active_hook) active_hook->report(*this, output);
    return output;
  });
} catch (const std::bad_alloc&) {
  no_memory(type_name());
}

Tensor Module::named(const std::function<Tensor()>& body) const {
  const RunningModule self(*this);
  try {
    return body();
  } catch (const Error& error) {
    const auto* inner = dynamic_cast<const LayerError*>(&error);
    if (!inner && typeid(error) != typeid(Error)) throw;
    const std::string name = self.caller ? self.caller->name_of_child(*this).value_or("") : "";
    const std::string described = std::string(type_name()) + ": " + error.what();
    const bool has_path = inner && !inner->path.empty();
    if (!self.caller) throw Error(has_path ? error.what() : described);
    if (has_path && !name.empty()) throw LayerError(name + "." + inner->path, inner->without_path);
    throw LayerError(name, described);
  }
}

/// The names from this module to the first of its parts that matches; empty if that is the module itself.
template <class Matches>
Module::Path Module::path_to(const Matches& matches) const {
  if (matches(*this)) return "";
  for (const auto& [name, child] : children())
    if (const Path rest = child->path_to(matches)) return rest->empty() ? name : name + "." + *rest;
  return std::nullopt;
}

Module::Path Module::name_of_child(const Module& child) const {
  for (const auto& [name, own] : children())
    if (own.get() == &child) return name;
  // A class may call its copy of what it registered.
  for (const auto& [name, own] : children())
    if (own->state_ == child.state_) return name;
  return std::nullopt;
}

void Module::check_name(const char* function, const std::string& name) const {
  const std::string start = function + std::string(": ");
  if (name.empty()) throw Error(start + "the name can't be an empty string");
  if (name.find('.') != std::string::npos)
    throw Error(start + "the name \"" + name + "\" can't contain \".\"");
  const bool taken =
      std::ranges::any_of(state_->slots, [&](const Slot& slot) { return slot.name == name; }) ||
      std::ranges::any_of(children(), [&](const auto& child) { return child.first == name; });
  if (taken) throw Error(start + "\"" + name + "\" already exists in this module");
}

Tensor Module::register_parameter(std::string name, Tensor parameter) try {
  check_name("register_parameter", name);
  if (parameter.defined() && !(parameter.is_leaf() && is_floating_point(parameter.dtype())))
    throw Error("register_parameter: \"" + name + "\" is " + std::string(name_of(parameter.dtype())) + " " +
                to_string(parameter.shape()) +
                (parameter.is_leaf() ? "" : ", the result of " + std::string(parameter.grad_fn_name())) +
                ", expected a floating-point tensor that no operation computed");
  if (parameter.defined()) parameter.set_requires_grad();
  state_->slots.push_back({std::move(name), parameter, true});
  return parameter;
} catch (const std::bad_alloc&) {
  no_memory("register_parameter");
}

Tensor Module::register_buffer(std::string name, Tensor buffer) try {
  check_name("register_buffer", name);
  state_->slots.push_back({std::move(name), buffer, false});
  return buffer;
} catch (const std::bad_alloc&) {
  no_memory("register_buffer");
}

void Module::register_child(std::string name, std::shared_ptr<Module> child) try {
  check_name("register_child", name);
  if (!child) throw Error("register_child: module \"" + name + "\" is null");
  const auto is_this = [this](const Module& part) { return part.state_ == state_; };
  if (const Path path = child->path_to(is_this))
    throw Error("register_child: module \"" + name + "\" " +
                (path->empty() ? "is the module that it would be part of"
                               : "contains the module that it would be part of, as its \"" + *path + "\""));
  state_->children.emplace_back(std::move(name), std::move(child));
} catch (const std::bad_alloc&) {
  no_memory("register_child");
}

void Module::collect(const std::string& prefix, bool learned_only, StateDict& into) const {
  for (const Slot& slot : state_->slots)
    if (slot.tensor.defined() && (slot.learned || !learned_only))
      into.push_back({prefix + slot.name, slot.tensor});
  for (const auto& [name, child] : children()) child->collect(prefix + name + ".", learned_only, into);
}

std::vector<NamedTensor> Module::named_parameters() const try {
  StateDict all, named;
  collect("", true, all);
  std::set<const Tensor::Impl*> seen;
  for (const NamedTensor& parameter : all)
    if (seen.insert(parameter.tensor.impl()).second) named.push_back(parameter);
  return named;
} catch (const std::bad_alloc&) {
  no_memory("named_parameters");
}

std::vector<Tensor> Module::parameters() const try {
  std::vector<Tensor> tensors;
  for (const NamedTensor& named : named_parameters()) tensors.push_back(named.tensor);
  return tensors;
} catch (const std::bad_alloc&) {
  no_memory("parameters");
}

std::int64_t Module::parameter_count() const try {
  std::int64_t count = 0;
  for (const Tensor& parameter : parameters()) count += parameter.numel();
  return count;
} catch (const std::bad_alloc&) {
  no_memory("parameter_count");
}

StateDict Module::state_dict() const try {
  StateDict named;
  collect("", false, named);
  return named;
} catch (const std::bad_alloc&) {
  no_memory("state_dict");
}

void Module::train(bool training) {
  state_->training = training;
  for (const auto& [name, child] : children()) child->train(training);
}

void Module::to(Device device) try {
  for (const NamedTensor& entry : state_dict())
    Tensor(entry.tensor).set_data(entry.tensor.detach().to(device));
} catch (const std::bad_alloc&) {
  no_memory("Module::to");
}

void Module::to(DType dtype) try {
  if (!is_floating_point(dtype))
    throw Error("Module::to: given " + std::string(name_of(dtype)) + ", expected float32 or float64");
  for (const NamedTensor& entry : state_dict())
    if (is_floating_point(entry.tensor.dtype()))
      Tensor(entry.tensor).set_data(entry.tensor.detach().to(dtype));
} catch (const std::bad_alloc&) {
  no_memory("Module::to");
}

}  // namespace kg::nn
