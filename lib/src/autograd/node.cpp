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
/// stack. Edges go first into `pending`, so that the tensors a rule captured never hold the last reference to
/// a node.
void Node::free() {
  std::vector<std::shared_ptr<Node>> pending;
  const auto take_apart = [&pending](Node& node) {
    for (Edge& edge : node.edges)
      if (edge.node) pending.push_back(std::move(edge.node));
    node.edges.clear();
    node.rule = nullptr;
    node.freed = true;
  };
  take_apart(*this);
  while (!pending.empty()) {
    const std::shared_ptr<Node> node = std::move(pending.back());
    pending.pop_back();
    if (node.use_count() == 1) take_apart(*node);
  }
}

Tensor record(std::string name, Tensor output, std::vector<Tensor> inputs, BackwardRule rule) {
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
}

}  // namespace kg
