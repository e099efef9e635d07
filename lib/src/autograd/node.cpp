// SPDX-License-Identifier: MIT
#include "autograd/node.h"

#include <atomic>

#include "core/tensor_impl.h"

namespace kg {

namespace {

thread_local bool grad_enabled = true;
std::atomic<std::uint64_t> operations_recorded = 0;

}  // namespace

NoGrad::NoGrad() : previous_(grad_enabled) { grad_enabled = false; }
NoGrad::~NoGrad() { grad_enabled = previous_; }
bool grad_is_enabled() { return grad_enabled; }

Node::Node(std::string name, std::uint64_t sequence, std::vector<Edge> edges, BackwardRule rule)
    : name(std::move(name)), sequence(sequence), edges(std::move(edges)), rule(std::move(rule)) {}

Node::~Node() { free(); }

/// Takes a chain of nodes apart in a loop. Left to the members' destructors, every node would destroy its
/// predecessor inside its own destructor, and a graph of some ten thousand operations would exhaust the
/// stack. Nothing is allocated: a destructor has nowhere to say that memory is gone.
void Node::free() noexcept {
  std::shared_ptr<Node> unowned;  // a chain by `next`, of nodes that nobody else refers to
  const auto take_apart = [&unowned](Node& node) {
    node.freed = true;
    // Before the edges, so that the tensors a rule captured never hold the last reference to a node.
    node.rule = nullptr;
    for (Edge& edge : node.edges) {
      if (edge.node.use_count() == 1) {
        edge.node->next = std::move(unowned);
        unowned = std::move(edge.node);
      }
      edge.node = nullptr;
    }
    node.edges.clear();
  };
  take_apart(*this);
  while (unowned) {
    const std::shared_ptr<Node> node = std::move(unowned);
    unowned = std::move(node->next);
    take_apart(*node);
  }
}

SavedTensor::SavedTensor(const Tensor& tensor, std::string argument) : argument_(std::move(argument)) {
  if (!tensor.defined()) return;
  tensor_ = tensor.detach();
  version_ = tensor.version();
}

Tensor SavedTensor::unpack(const BackwardCall& call) const {
  if (tensor_.defined() && tensor_.version() != version_)
    throw Error(std::string(call.operation) + ": " + argument_ + ", " + described(tensor_) +
                ", has been overwritten since forward, and its gradient needs the elements of then: it is at "
                "version " +
                std::to_string(tensor_.version()) + ", expected version " + std::to_string(version_) +
                "; overwrite it after backward(), or give the operation a clone()");
  return tensor_;
}

Tensor record(std::string name, Tensor output, const std::vector<Tensor>& inputs, BackwardRule rule) try {
  if (!rule) throw Error(name + ": the backward rule given to record() is empty");
  if (!output.defined()) throw Error(name + ": the output given to record() is undefined");
  if (!grad_enabled) return output;
  std::vector<Edge> edges;
  bool needed = false;
  for (const Tensor& input : inputs) {
    Edge& edge = edges.emplace_back();
    if (!input.defined() || !input.requires_grad()) continue;
    edge.node = input.impl()->grad_fn;
    if (!edge.node) edge.leaf = input.shared_impl();
    edge.shape = input.shape();
    edge.options = {.dtype = input.dtype(), .device = input.device()};
    needed = true;
  }
  if (!needed) return output;
  if (!output.is_leaf() || output.requires_grad())
    throw Error(name + ": the output given to record() is part of a graph already; give a fresh tensor");
  output.impl()->grad_fn =
      std::make_shared<Node>(std::move(name), ++operations_recorded, std::move(edges), std::move(rule));
  return output;
} catch (const std::bad_alloc&) {
  no_memory("record");
}

}  // namespace kg
