// SPDX-License-Identifier: MIT
#include <queue>
#include <string>
#include <unordered_map>

#include "autograd/node.h"
#include "core/tensor_impl.h"
#include "ops/in_place.h"

namespace kg {

namespace {

/// True if nobody else can see the tensor's memory: a rule may return one tensor for several inputs (add
/// does), and a user may hold on to a gradient.
bool is_exclusive(const Tensor& tensor) {
  return tensor.shared_impl().use_count() == 1 && tensor.impl()->storage.use_count() == 1;
}

/// Adds `gradient` to `sum`, in place where nobody else can see the sum's memory.
void accumulate(Tensor& sum, Tensor gradient) {
  if (!sum.defined()) {
    sum = std::move(gradient);
    return;
  }
  if (!is_exclusive(sum)) sum = sum.clone();
  sum.bump_version();
  kg::accumulate(gradient, sum);
}

/// `use` says where the leaf was used, for error messages: "linear: input 1".
void accumulate_into_leaf(Tensor::Impl& leaf, Tensor gradient, const auto& use) {
  if (leaf.dtype != gradient.dtype() || leaf.storage->device() != gradient.device())
    throw Error(use() + " was " + described(gradient) +
                " in forward, and so is what backward adds to its gradient; now it is " +
                described(leaf.shape, {.dtype = leaf.dtype, .device = leaf.storage->device()}));
  Tensor sum(leaf.present_grad());
  leaf.grad = nullptr;
  accumulate(sum, std::move(gradient));
  if (!is_exclusive(sum)) sum = sum.clone();
  leaf.grad = sum.shared_impl();
}

std::vector<Tensor> run_rule(const Node& node, const Tensor& grad_output,
                             const std::vector<bool>& needs) try {
  return node.rule({.operation = node.name, .grad_output = grad_output, .needs = needs});
} catch (const std::bad_alloc&) {
  no_memory(node.name);
}

void check_gradients(const Node& node, const std::vector<Tensor>& gradients) {
  const std::string rule = node.name + ": its backward rule returned ";
  if (gradients.size() != node.edges.size())
    throw Error(rule + std::to_string(gradients.size()) + " gradients for " +
                std::to_string(node.edges.size()) + " inputs");
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const Edge& edge = node.edges[i];
    const Tensor& gradient = gradients[i];
    if (!edge.needed()) continue;
    if (!gradient.defined()) throw Error(rule + "no gradient for input " + std::to_string(i));
    const TensorOptions given = gradient.options();
    if (gradient.shape() != edge.shape || given.dtype != edge.options.dtype ||
        given.device != edge.options.device)
      throw Error(rule + described(gradient.shape(), given) + " as the gradient of input " +
                  std::to_string(i) + ", expected " + described(edge.shape, edge.options));
  }
}

struct LaterFirst {
  bool operator()(const std::shared_ptr<Node>& a, const std::shared_ptr<Node>& b) const {
    return a->sequence < b->sequence;
  }
};

/// Visits the operations from the last recorded to the first, so that each has the gradients of all its uses
/// when its turn comes. The order depends on nothing else: sums of gradients are formed in the same order in
/// every run.
class BackwardWalk {
 public:
  explicit BackwardWalk(bool retain_graph) : retain_graph_(retain_graph) {}

  void run(const std::shared_ptr<Node>& root, Tensor gradient) {
    send(root, std::move(gradient));
    while (!pending_.empty()) {
      const std::shared_ptr<Node> node = pending_.top();
      pending_.pop();
      visit(*node);
    }
  }

 private:
  void visit(Node& node) {
    if (node.freed)
      throw Error("backward: the graph behind \"" + node.name +
                  "\" was freed by an earlier backward; pass retain_graph = true to the first one to go "
                  "through it twice");
    const Tensor grad_output = std::move(gradients_.extract(&node).mapped());
    std::vector<bool> needs;
    for (const Edge& edge : node.edges) needs.push_back(edge.needed());
    std::vector<Tensor> gradients = run_rule(node, grad_output, needs);
    check_gradients(node, gradients);
    const std::vector<Edge> edges = node.edges;
    if (!retain_graph_) node.free();
    for (std::size_t i = 0; i < edges.size(); ++i) {
      const auto use = [&] { return node.name + ": input " + std::to_string(i); };
      if (edges[i].leaf) accumulate_into_leaf(*edges[i].leaf, std::move(gradients[i]), use);
      if (edges[i].node) send(edges[i].node, std::move(gradients[i]));
    }
  }

  void send(const std::shared_ptr<Node>& node, Tensor gradient) {
    Tensor& sum = gradients_[node.get()];
    if (!sum.defined()) pending_.push(node);
    accumulate(sum, std::move(gradient));
  }

  bool retain_graph_;
  std::priority_queue<std::shared_ptr<Node>, std::vector<std::shared_ptr<Node>>, LaterFirst> pending_;
  std::unordered_map<const Node*, Tensor> gradients_;
};

}  // namespace

void Tensor::backward(bool retain_graph) const try {
  if (numel() != 1)
    throw Error("backward: the tensor has shape " + to_string(shape()) +
                "; only a scalar starts a backward pass without a gradient given");
  backward(ones(shape(), {.dtype = dtype(), .device = device()}), retain_graph);
} catch (const std::bad_alloc&) {
  no_memory("backward");
}

void Tensor::backward(const Tensor& gradient, bool retain_graph) const try {
  if (!requires_grad())
    throw Error("backward: the tensor requires no gradient, and neither does anything it was computed from");
  if (gradient.shape() != shape() || gradient.dtype() != dtype() || gradient.device() != device())
    throw Error("backward: the gradient given is " + described(gradient) + ", expected " + described(*this));
  static_cast<void>(impl_->storage->data());  // a recording that was refused leaves no graph to go through
  const NoGrad no_grad;
  if (is_leaf())
    return accumulate_into_leaf(*impl_, gradient, [] { return std::string("backward: the leaf"); });
  BackwardWalk(retain_graph).run(impl_->grad_fn, gradient);
} catch (const std::bad_alloc&) {
  no_memory("backward");
}

}  // namespace kg
