// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernelgrad/autograd.h"

namespace kg {

struct Node;

/// Where the gradient of one input goes: on to the operation that computed it, or into a leaf's grad.
/// Neither, if no gradient is needed.
struct Edge {
  std::shared_ptr<Node> node;
  std::shared_ptr<Tensor::Impl> leaf;
  /// The input's, which the gradient must have too.
  Shape shape = {};
  TensorOptions options = {};

  bool needed() const { return node != nullptr || leaf != nullptr; }
};

/// One recorded operation.
struct Node {
  std::string name;
  /// Increases with every operation recorded: an operation comes after everything it depends on.
  std::uint64_t sequence;
  std::vector<Edge> edges;
  BackwardRule rule;
  bool freed = false;
  /// In free() alone: what is to be taken apart after this.
  std::shared_ptr<Node> next = nullptr;

  Node(std::string name, std::uint64_t sequence, std::vector<Edge> edges, BackwardRule rule);
  ~Node();

  /// Drops the rule, with the values it saved, and the edges.
  void free() noexcept;
};

}  // namespace kg
