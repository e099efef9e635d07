#include <map>
#include <set>

#include "kernelgrad/nn.h"

namespace kg::nn {

namespace {

thread_local const ForwardHook* active_hook = nullptr;

}  // namespace

ForwardHook::ForwardHook(Callback callback) : callback_(std::move(callback)), previous_(active_hook) {
  active_hook = this;
}
ForwardHook::~ForwardHook() { active_hook = previous_; }
const ForwardHook* ForwardHook::active() { return active_hook; }

Tensor Module::operator()(const Tensor& x) {
  Tensor output = forward(x);
  if (active_hook) active_hook->report(*this, output);
  return output;
}

Tensor Module::register_parameter(std::string name, Tensor parameter) {
  if (!parameter.defined()) return parameter;
  parameter.set_requires_grad();
  slots_.push_back({std::move(name), parameter, true});
  return parameter;
}

Tensor Module::register_buffer(std::string name, Tensor buffer) {
  slots_.push_back({std::move(name), buffer, false});
  return buffer;
}

void Module::register_child(std::string name, std::shared_ptr<Module> child) {
  children_.emplace_back(std::move(name), std::move(child));
}

void Module::collect(const std::string& prefix, bool learned_only, StateDict& into) const {
  for (const Slot& slot : slots_)
    if (slot.learned || !learned_only) into.push_back({prefix + slot.name, slot.tensor});
  for (const auto& [name, child] : children_) child->collect(prefix + name + ".", learned_only, into);
}

std::vector<NamedTensor> Module::named_parameters() const {
  StateDict all, named;
  collect("", true, all);
  std::set<const Tensor::Impl*> seen;
  for (const NamedTensor& parameter : all)
    if (seen.insert(parameter.tensor.impl()).second) named.push_back(parameter);
  return named;
}

std::vector<Tensor> Module::parameters() const {
  std::vector<Tensor> tensors;
  for (const NamedTensor& named : named_parameters()) tensors.push_back(named.tensor);
  return tensors;
}

std::int64_t Module::parameter_count() const {
  std::int64_t count = 0;
  for (const Tensor& parameter : parameters()) count += parameter.numel();
  return count;
}

StateDict Module::state_dict() const {
  StateDict named;
  collect("", false, named);
  return named;
}

void Module::load_state_dict(const StateDict& state) {
  std::map<std::string_view, const Tensor*> given;
  for (const NamedTensor& entry : state)
    if (!given.emplace(entry.name, &entry.tensor).second)
      throw Error("load_state_dict: \"" + entry.name + "\" is given twice");
  std::vector<std::pair<Tensor, const Tensor*>> copies;
  for (const NamedTensor& own : state_dict()) {
    const auto found = given.find(own.name);
    if (found == given.end()) throw Error("load_state_dict: \"" + own.name + "\" is missing");
    const Tensor& tensor = *found->second;
    if (tensor.shape() != own.tensor.shape() || tensor.dtype() != own.tensor.dtype())
      throw Error("load_state_dict: \"" + own.name + "\" is " + std::string(name_of(tensor.dtype())) + " " +
                  to_string(tensor.shape()) + ", the module expects " +
                  std::string(name_of(own.tensor.dtype())) + " " + to_string(own.tensor.shape()));
    copies.emplace_back(own.tensor, &tensor);
    given.erase(found);
  }
  if (!given.empty())
    throw Error("load_state_dict: the module has no \"" + std::string(given.begin()->first) + "\"");
  for (auto& [own, source] : copies) own.copy_from(*source);
}

void Module::train(bool training) {
  training_ = training;
  for (const auto& [name, child] : children_) child->train(training);
}

void Module::to(Device device) {
  for (const NamedTensor& entry : state_dict())
    Tensor(entry.tensor).set_data(entry.tensor.detach().to(device));
}

void Module::to(DType dtype) {
  if (!is_floating_point(dtype))
    throw Error("Module::to: given " + std::string(name_of(dtype)) + ", expected float32 or float64");
  for (const NamedTensor& entry : state_dict())
    if (is_floating_point(entry.tensor.dtype()))
      Tensor(entry.tensor).set_data(entry.tensor.detach().to(dtype));
}

}  // namespace kg::nn
